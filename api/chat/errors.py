"""What can go wrong between a question and its answer."""

from flant5_train.serving.messages import RefusalKind, Refused
from worker.jobs.errors import InvalidRequestError, NotFoundError


class NoServerError(Exception):
    """There is no serving process."""

    def __init__(self) -> None:
        super().__init__(
            "no serving process is here to answer; `flant5 up` has one, with compose "
            "`docker compose up -d serve` starts one, else `python -m worker.serving`"
        )


class ServerLostError(Exception):
    """The serving process ended before its answer was whole."""


class ChatTimeoutError(Exception):
    """The answer took longer than any may."""


class ChatFailedError(Exception):
    """A bug of ours in the serving process."""


class TooLongError(InvalidRequestError):
    """The model can't read that much."""


class ClientGoneError(Exception):
    """Nobody waits for the answer any more."""


def error_of(refused: Refused) -> Exception:
    """The error that answers a refused question."""
    kinds: dict[RefusalKind, type[Exception]] = {
        "not_found": NotFoundError,
        "unavailable": ServerLostError,
        "failed": ChatFailedError,
    }
    if refused.kind == "invalid":
        return InvalidRequestError(refused.message, param=refused.param)
    if refused.kind == "too_long":
        return TooLongError(refused.message, param=refused.param)
    return kinds[refused.kind](refused.message)
