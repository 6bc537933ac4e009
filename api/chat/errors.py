"""Errors of chat requests."""

from flant5_train.protocol.inference import RefusalKind, Refused
from worker.jobs.errors import InvalidRequestError, NotFoundError


class NoServerError(Exception):
    """No serving process is running."""

    def __init__(self) -> None:
        super().__init__(
            "no serving process is running; start one with `flant5 up`, "
            "`docker compose up -d serve` or `python -m worker.serving`"
        )


class ServerLostError(Exception):
    """The serving process ended before the answer was complete."""


class ChatTimeoutError(Exception):
    """The answer exceeded the time limit."""


class ChatFailedError(Exception):
    """Internal error of the serving process."""


class TooLongError(InvalidRequestError):
    """The prompt is too long for the model."""


class ClientGoneError(Exception):
    """The client disconnected."""


def error_of(refused: Refused) -> Exception:
    """Returns the error for a refused chat request."""
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
