"""Error responses: one table of HTTP codes and one shape.

    {"error": {"message": "...", "type": "invalid_request_error", "param": "seed", "code": "..."}}

The errors of chat requests are defined here too. Responses with 405 list the allowed methods of the
path.
"""

import logging
import re
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from api.http.unserved_paths import advice
from api.http.validation import format_validation_error
from api.schemas.common import Error, ErrorResponse
from flant5_train.protocol.inference import RefusalKind, Refused
from worker.jobs.errors import (
    BusyError,
    ChatLimitError,
    InUseError,
    InvalidRequestError,
    JobsError,
    LimitReachedError,
    NotEndedError,
    NotFoundError,
    StartRefusedError,
    StorageFullError,
    StorageQuotaError,
    StoreUnavailableError,
)

_LAST_NAME = re.compile(r"\{(\w+)\}$")


def allowed_methods(app: FastAPI, path: str) -> tuple[str, ...]:
    """Returns all methods of all routes of a path. The framework reports only those of the first
    route. `/v1/fine_tuning/jobs/plan` is a path of its own, not a job named "plan". Empty for a
    path that is not in the OpenAPI document."""
    described = app.openapi()["paths"]
    matching = [path] if path in described else [each for each in described if _fits(each, path)]
    if not matching:
        # The OpenAPI document does not show that model ids and artifact paths contain slashes.
        longer = {each: _LAST_NAME.sub(r"{\1:path}", each) for each in described}
        matching = [each for each, template in longer.items() if _fits(template, path)]
    return tuple(sorted({method.upper() for each in matching for method in described[each]}))


def _fits(template: str, path: str) -> bool:
    return compile_path(template)[0].match(path) is not None


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


_log = logging.getLogger(__name__)


class UnauthorizedError(Exception):
    """The request has no API key, or an unknown one."""


class ForbiddenError(Exception):
    """The API key is valid but does not allow this request."""


class BodyTooLargeError(HTTPException):
    """Raised while a body is read. FastAPI lets only an HTTPException pass there."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(413, f"the body is larger than {max_bytes} bytes, the limit of this path")


class StorageFullInBodyError(HTTPException):
    """The disk became full while a body was read. See BodyTooLargeError."""

    def __init__(self, message: str) -> None:
        super().__init__(507, message)


class UploadNotStoredError(HTTPException):
    """The disk rejected a file while a body was read. See BodyTooLargeError."""

    def __init__(self, message: str) -> None:
        super().__init__(503, message)


class RateLimitedError(HTTPException):
    """The caller exceeded its rate limit."""

    def __init__(self, kind: str, *, retry_after_seconds: int) -> None:
        super().__init__(
            429,
            f"too many {kind} requests from this key or address; retry in {retry_after_seconds} s",
            headers={"retry-after": str(retry_after_seconds), "x-should-retry": "true"},
        )


class TooManyStreamsError(Exception):
    """This process already serves its maximum number of live streams."""


class TooManyReportsError(Exception):
    """This process already makes its maximum number of reports."""


class StorageFailedError(JobsError):
    """The disk of HOME rejected data that must be written before an acknowledgement."""


class JobNotRestoredError(JobsError):
    """The job was acknowledged, but the store lost it."""


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """HTTP response of one class of errors."""

    status: int
    type: str
    code: str
    retry_after_seconds: int | None = None
    """Set if another try may succeed without changes. Otherwise the SDK is instructed not to
    retry."""


_MAX_MESSAGE = 1000
_MAX_PARAM = 200

_REQUEST = "invalid_request_error"
_SERVER = "server_error"

INTERNAL = ErrorKind(500, _SERVER, "internal_error")

_NO_ROUTE = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
"""Raised by the framework. Objects that a route does not find raise NotFoundError."""

KINDS: dict[type[Exception], ErrorKind] = {
    InvalidRequestError: ErrorKind(400, _REQUEST, "invalid_value"),
    RequestValidationError: ErrorKind(400, _REQUEST, "invalid_value"),
    TooLongError: ErrorKind(400, _REQUEST, "context_length_exceeded"),
    UnauthorizedError: ErrorKind(401, "authentication_error", "invalid_api_key"),
    ForbiddenError: ErrorKind(403, "permission_error", "insufficient_scope"),
    NotFoundError: ErrorKind(404, _REQUEST, "not_found"),
    NotEndedError: ErrorKind(409, _REQUEST, "job_not_ended"),
    InUseError: ErrorKind(409, _REQUEST, "in_use"),
    BusyError: ErrorKind(409, _REQUEST, "job_busy", retry_after_seconds=1),
    BodyTooLargeError: ErrorKind(413, _REQUEST, "too_large"),
    RateLimitedError: ErrorKind(429, "rate_limit_error", "rate_limit"),
    LimitReachedError: ErrorKind(429, "rate_limit_error", "queue_limit"),
    StorageQuotaError: ErrorKind(429, "insufficient_quota", "storage_quota"),
    ChatLimitError: ErrorKind(429, "rate_limit_error", "chat_limit", retry_after_seconds=5),
    ClientGoneError: ErrorKind(499, _REQUEST, "client_gone"),
    ChatFailedError: ErrorKind(500, _SERVER, "chat_failed"),
    StoreUnavailableError: ErrorKind(503, _SERVER, "store_unavailable", retry_after_seconds=2),
    TooManyStreamsError: ErrorKind(503, _SERVER, "too_many_streams", retry_after_seconds=5),
    TooManyReportsError: ErrorKind(503, _SERVER, "too_many_reports", retry_after_seconds=5),
    StorageFailedError: ErrorKind(503, _SERVER, "storage_failed", retry_after_seconds=5),
    JobNotRestoredError: ErrorKind(503, _SERVER, "job_not_restored", retry_after_seconds=5),
    StartRefusedError: ErrorKind(503, _SERVER, "storage_failed", retry_after_seconds=5),
    UploadNotStoredError: ErrorKind(503, _SERVER, "storage_failed", retry_after_seconds=5),
    NoServerError: ErrorKind(503, _SERVER, "no_serving_process", retry_after_seconds=5),
    ServerLostError: ErrorKind(503, _SERVER, "serving_process_lost", retry_after_seconds=1),
    ChatTimeoutError: ErrorKind(504, _SERVER, "chat_timeout"),
    StorageFullError: ErrorKind(507, _SERVER, "storage_full"),
    StorageFullInBodyError: ErrorKind(507, _SERVER, "storage_full"),
}
"""The only table of HTTP codes. All other errors are HTTPExceptions or internal errors."""


_OF_THE_DISK = (
    StorageFullError,
    StorageFailedError,
    StorageFullInBodyError,
    UploadNotStoredError,
    StartRefusedError,
)
"""Logged because the operator must act."""


def answer(error: Exception, *, body_model: type[BaseModel] | None = None) -> JSONResponse:
    """Returns the response to `error`. Internal errors reveal no details."""
    kind = _kind_of(error)
    message, param = _message_of(error, body_model)
    headers = {"x-should-retry": "false"}
    if kind.retry_after_seconds is not None:
        headers = {"x-should-retry": "true", "retry-after": str(kind.retry_after_seconds)}
    if isinstance(error, HTTPException) and error.headers:
        headers |= error.headers
    if kind.status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    shown = {"message": _cut(message, _MAX_MESSAGE), "param": param and _cut(param, _MAX_PARAM)}
    body = ErrorResponse(error=Error(**shown, type=kind.type, code=kind.code))
    return JSONResponse(body.model_dump(), status_code=kind.status, headers=headers)


def install(app: FastAPI) -> None:
    """Registers handlers that give every error raised below the middleware the common shape."""
    for error_class in (*KINDS, HTTPException):
        app.add_exception_handler(error_class, _handle)


def _handle(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, StoreUnavailableError):
        _log.warning("%s %s: %s", request.method, request.url.path, error)
    if isinstance(error, _OF_THE_DISK):
        message, _ = _message_of(error, None)
        _log.error("%s %s: %s", request.method, request.url.path, message)
    body_field = getattr(request.scope.get("route"), "body_field", None)
    model = body_field.field_info.annotation if body_field else None
    if isinstance(error, HTTPException) and error.status_code in _NO_ROUTE:
        error = _with_advice(error, request)
    is_model = isinstance(model, type) and issubclass(model, BaseModel)
    response = answer(error, body_model=model if is_model else None)
    if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        methods = allowed_methods(request.app, request.url.path)
        response.headers["allow"] = ", ".join(methods) or response.headers["allow"]
    return response


def _with_advice(error: HTTPException, request: Request) -> HTTPException:
    """Returns a 404 or 405 with the path and a hint at the correct one."""
    path = request.url.path
    reason = "no such path" if error.status_code == HTTPStatus.NOT_FOUND else str(error.detail)
    parts = [f"{request.method} {path}: {reason}", advice(path)]
    message = "; ".join(part for part in parts if part)
    return HTTPException(error.status_code, message, headers=dict(error.headers or {}))


def _unreadable(cause: BaseException | None) -> str | None:
    """Returns the problem with a body that the framework could not parse. The framework reports
    none."""
    if isinstance(cause, UnicodeDecodeError):
        return f"the body is not JSON: byte {cause.start} is not UTF-8; expected a JSON object"
    if isinstance(cause, RecursionError):
        return "the body is nested too deeply; expected a JSON object of a few levels"
    if type(cause) is ValueError:
        return f"the body can't be read: {cause}; expected a JSON object"
    return None


def _cut(text: str, max_characters: int) -> str:
    """Truncates a message. Messages quote input, which may be as long as a request."""
    if len(text) <= max_characters:
        return text
    return f"{text[:max_characters]}... ({len(text)} characters)"


def _kind_of(error: Exception) -> ErrorKind:
    for error_class in type(error).__mro__:
        if error_class in KINDS:
            return KINDS[error_class]
    if isinstance(error, HTTPException):
        name = HTTPStatus(error.status_code).phrase.lower().replace(" ", "_")
        return ErrorKind(error.status_code, _REQUEST if error.status_code < 500 else _SERVER, name)
    return INTERNAL


def _message_of(error: Exception, body_model: type[BaseModel] | None) -> tuple[str, str | None]:
    if isinstance(error, InvalidRequestError):
        return str(error), error.param
    if isinstance(error, RequestValidationError):
        return format_validation_error(error, model=body_model)
    if isinstance(error, HTTPException):
        return _unreadable(error.__cause__) or str(error.detail), None
    if _kind_of(error) is INTERNAL:
        return "internal server error; see the server log by x-request-id", None
    return str(error), None
