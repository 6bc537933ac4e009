"""A client that sends bytes as they are: most of what is sent here no proper client can say."""

import socket
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from types import TracebackType
from typing import Self

PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; the header names in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes


class HungError(AssertionError):
    """The server neither answered nor closed the connection."""


class Wire:
    """One connection at a time to a server, a new one when the last was closed."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def ask(self, request: bytes) -> Answer:
        """The answer to one whole request. A kept connection may have been closed meanwhile: then
        it is sent once more on a new one."""
        was_kept = self._socket is not None
        answer = self._exchange(request)
        if answer is None and was_kept:
            answer = self._exchange(request)
        assert answer is not None, f"closed without an answer: {request[:200]!r}"
        return answer

    def say(self, data: bytes) -> Answer | None:
        """The answer to whatever that is, on a connection of its own that says nothing more; None
        when it is closed without one."""
        self.close()
        answer = self._exchange(data, is_last=True)
        self.close()
        return answer

    def _exchange(self, data: bytes, *, is_last: bool = False) -> Answer | None:
        if self._socket is None:
            self._socket = socket.create_connection(self._address, PATIENCE_SECONDS)
        # Refused before it was all sent, or closed: the answer may be there nevertheless.
        with suppress(ConnectionError):
            self._socket.sendall(data)
        if is_last:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
        return self._read(method=data.partition(b" ")[0].decode("latin-1"))

    def _read(self, *, method: str) -> Answer | None:
        assert self._socket is not None
        response = HTTPResponse(self._socket, method=method)
        try:
            response.begin()
            body = response.read()
        except TimeoutError as error:
            raise HungError(f"no answer within {PATIENCE_SECONDS:g} s") from error
        except (ConnectionError, HTTPException):
            self.close()
            return None
        headers = {name.lower(): value for name, value in response.getheaders()}
        answer = Answer(status=response.status, headers=headers, body=body)
        if response.will_close or headers.get("connection") == "close":
            self.close()
        return answer
