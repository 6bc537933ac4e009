"""Exceptions of `worker.jobs`, and suggestions for misspelt names in their messages."""

from collections.abc import Iterable
from difflib import get_close_matches


class JobsError(Exception):
    """Base class of the exceptions of `worker.jobs`."""


class NotFoundError(JobsError):
    """There is no job, file, model or cursor with this id. The message names the id."""


class InvalidRequestError(JobsError):
    """The request is invalid; `param` names the field."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class NotEndedError(JobsError):
    """The job has not ended, so neither it nor its model or checkpoints can be deleted."""

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(
            f"job {job_id} is {status}; cancel it first. A job, its model and its checkpoints can "
            "be deleted only after it has ended"
        )


class InUseError(JobsError):
    """Jobs that have not ended still need the object to delete."""

    def __init__(self, thing: str, users: tuple[str, ...]) -> None:
        names = ", ".join(users) if users else "a job of another owner"
        super().__init__(
            f"{thing} is needed by {names}, which has not ended. Cancel that job or wait for it to "
            "end, then delete again"
        )
        self.thing = thing
        self.users = users
        """The ids of these jobs."""


class BusyError(JobsError):
    """A process of the job's last attempt is still alive; it will exit in a moment."""


class StoreUnavailableError(JobsError):
    """Redis does not respond, or refuses to write."""


class StartRefusedError(JobsError):
    """A process can't start with its configuration, and waiting won't help."""

    def __init__(self, found: str, *, expected: str, remedy: str) -> None:
        super().__init__(f"{found}; expected {expected}; {remedy}")
        self.found = found
        self.expected = expected
        self.remedy = remedy


class StorageFullError(JobsError):
    """The disk of HOME is full, or its quota is used up."""


class StorageQuotaError(JobsError):
    """The caller has reached its storage quota; deleting a file makes space."""


class LimitReachedError(JobsError):
    """The caller has reached its limit of queued jobs, until one of them starts or is cancelled."""


class ChatLimitError(JobsError):
    """The inference queue is full for the moment."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns a hint with the known name most similar to `name`, or ''.

    >>> did_you_mean("learning_rat", ["learning_rate", "seed"])
    "; did you mean 'learning_rate'?"
    """
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
