"""HTTP protocol of uvicorn, extended with timeouts for slow clients and with error responses in the
common shape."""

import logging
import secrets
from asyncio import TimerHandle, Transport
from http import HTTPStatus

from starlette.exceptions import HTTPException
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.http.errors import answer
from api.http.middleware import EVERYWHERE

MAX_HEADING_BYTES = 65_536
_WEBSOCKETS = b"/_nicegui_ws/"
"""The dashboard's websocket path. A handshake for any other path is an ordinary request."""

_log = logging.getLogger(__name__)


def http_protocol(*, slow_client_seconds: float) -> type[HttpToolsProtocol]:
    """Returns a protocol class with this client timeout."""

    class Patient(_TimeoutHttpProtocol):
        timeout_seconds = slow_client_seconds

    return Patient


class _TimeoutHttpProtocol(HttpToolsProtocol):
    """One connection. A timer runs while the server waits for request headers, for the unread rest
    of a body, or to send data. uvicorn only times connections between two requests, and any byte
    stops that timer."""

    timeout_seconds = 30.0

    _timer: TimerHandle | None = None
    _stalled: TimerHandle | None = None
    _num_heading_bytes = 0
    _is_in_heading = True

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        if self._stalled is not None:
            self._stalled.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_in_heading:
            self._num_heading_bytes += len(data)
            self._start_timer()
        super().data_received(data)
        if self._is_in_heading and self._num_heading_bytes > MAX_HEADING_BYTES:
            self._refuse(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"the request's first line and headers are larger than {MAX_HEADING_BYTES} bytes",
            )

    def on_headers_complete(self) -> None:
        self._is_in_heading = False
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_in_heading, self._num_heading_bytes = True, 0
        self._stop_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._is_in_heading:
            self._start_timer()  # the rest of the body is useless

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self.timeout_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()

    def send_400_response(self, msg: str) -> None:
        self._refuse(HTTPStatus.BAD_REQUEST, "the request is not valid HTTP/1.1")

    def _should_upgrade(self) -> bool:
        return self.url.startswith(_WEBSOCKETS) and super()._should_upgrade()

    def _start_timer(self) -> None:
        if self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(self.timeout_seconds, self._give_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if self._num_heading_bytes == 0 or not self._is_in_heading:
            self.transport.close()  # no client waits for a response
            return
        self._refuse(
            HTTPStatus.REQUEST_TIMEOUT,
            f"the request's headers did not arrive within {self.timeout_seconds:g} s",
        )

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        """Sends an error and closes, unless a response to an earlier request is in progress."""
        if self.transport.is_closing():
            return
        self._stop_timer()
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(_refusal(status, message))
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()


def _refusal(status: HTTPStatus, message: str) -> bytes:
    request_id = f"req_{secrets.token_hex(12)}"
    _log.info("rejected an invalid request: %s (%s)", message, request_id)
    response = answer(HTTPException(status, message))
    response.headers.update(EVERYWHERE | {"x-request-id": request_id, "connection": "close"})
    heading = [b"%b: %b\r\n" % header for header in response.raw_headers]
    return b"".join([STATUS_LINE[status], *heading, b"\r\n", bytes(response.body)])
