"""A real HTTP server that plays an endpoint: it keeps what it gets and answers as it is told."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.http_server import QuietHandler, serving

SECRET = "whsec_" + "bG9va2luZy1mb3ItMjQtcmFuZG9tLWJ5dGVzLWhlcmU="


@dataclass
class Got:
    """One request."""

    path: str
    headers: dict[str, str]
    body: str


@dataclass
class Receiver:
    """`answer` gets the number of the request, from 1, and gives the status."""

    answer: Callable[[int], int] = lambda _: 200
    location: str = ""
    got: list[Got] = field(default_factory=list)
    port: int = 0
    hold: threading.Event | None = None
    """When set, no answer comes before this event."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def job_ids(self) -> list[str]:
        return [json.loads(each.body)["data"]["id"] for each in self.got]

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["content-length"])).decode()
        self.got.append(Got(handler.path, dict(handler.headers), body))
        status = self.answer(len(self.got))
        if self.hold is not None:
            self.hold.wait(timeout=60)
        handler.send_response(status)
        if self.location:
            handler.send_header("location", self.location)
        handler.send_header("content-length", "0")
        handler.end_headers()


@contextmanager
def receiving(receiver: Receiver) -> Iterator[Receiver]:
    class Handler(QuietHandler):
        def do_POST(self) -> None:
            try:
                receiver.take(self)
            except ConnectionError:
                return  # the sender went away, as some tests want it to

    with serving(Handler) as receiver.port:
        try:
            yield receiver
        finally:
            if receiver.hold is not None:
                receiver.hold.set()
