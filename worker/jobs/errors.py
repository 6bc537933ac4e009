"""What can go wrong between a caller and the store."""


class JobsError(Exception):
    """Base of everything raised by `worker.jobs`."""


class NotFoundError(JobsError):
    """No job, file, model or cursor of that id. The message names the id."""


class InvalidRequestError(JobsError):
    """The request can't be carried out as it stands; `param` names the field."""

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class NotEndedError(JobsError):
    """The job has not ended, and only what an ended job has left can be deleted."""

    def __init__(self, job_id: str, status: str) -> None:
        super().__init__(
            f"job {job_id} is {status}; only an ended job, its model and its checkpoints can be "
            "deleted: cancel it first"
        )


class InUseError(JobsError):
    """Jobs that have not ended still need what is to be deleted."""

    def __init__(self, thing: str, users: tuple[str, ...]) -> None:
        names = ", ".join(users) if users else "a job of another owner"
        super().__init__(
            f"{thing} is needed by {names}, which has not ended; cancel that job or wait for its "
            "end, then delete this"
        )
        self.thing = thing
        self.users = users
        """The ids of these jobs."""


class BusyError(JobsError):
    """A process of the job's last attempt is still alive; it will be gone in a moment."""


class StoreUnavailableError(JobsError):
    """Redis does not answer, or refuses to write."""


class StartRefusedError(JobsError):
    """What a process is set to work with can't be; no waiting mends that."""

    def __init__(self, found: str, *, expected: str, remedy: str) -> None:
        super().__init__(f"{found}; expected {expected}; {remedy}")
        self.found = found
        self.expected = expected
        self.remedy = remedy


class StorageFullError(JobsError):
    """The disk that holds HOME is full, or its quota is."""


class StorageQuotaError(JobsError):
    """The caller has stored as much as allowed; another file can come when one was deleted."""


class LimitReachedError(JobsError):
    """The caller has as many jobs waiting as allowed; another one can be sent when one of them
    has run or was cancelled."""


class ChatLimitError(JobsError):
    """As many questions wait for a serving process as allowed; soon there may be room."""
