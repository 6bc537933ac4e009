"""Converts errors of a push to a hub into messages for API callers, with a retry decision."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from huggingface_hub.errors import HfHubHTTPError, HFValidationError

from worker.jobs.redaction import redacted

_AGAIN = frozenset({408, 409, 412, 425, 429})
"""Retryable client error statuses. 409 and 412: another commit came first."""
_MAX_WORDS = 300


class HubError(Exception):
    """A push failed. `is_final`: a retry would fail in the same way."""

    def __init__(self, message: str, *, is_final: bool) -> None:
        super().__init__(message)
        self.is_final = is_final


def hub_error(error: Exception) -> HubError:
    """Converts an error of `huggingface_hub`.

    The library wraps the hub's responses into other errors, so all causes are searched.
    """
    for each in _causes(error):
        if isinstance(each, HfHubHTTPError):
            return _refusal(each)
        if isinstance(each, HFValidationError):
            return HubError(_short(str(each)), is_final=True)
    *_, first = _causes(error)
    return HubError(_short(f"{type(first).__name__}: {first}"), is_final=False)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _refusal(error: HfHubHTTPError) -> HubError:
    status = error.response.status_code
    request = error.response.request
    said = error.server_message or error.response.reason_phrase
    where = f"{request.method} {urlsplit(str(request.url)).path}"
    is_final = status < 500 and status not in _AGAIN
    return HubError(f"the hub answered {status} to {where}: {_short(said)}", is_final=is_final)


def _short(text: str) -> str:
    line = redacted(" ".join(text.split()))
    return line if len(line) <= _MAX_WORDS else f"{line[: _MAX_WORDS - 3]}..."
