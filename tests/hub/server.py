"""The hub's HTTP API, as far as uploads and downloads of models use it, with faults on demand.

Large files go by Git LFS's `basic` transfer, or by Xet, and come from another host (`localhost`
instead of 127.0.0.1) which refuses whoever shows it a token of the hub, as public storage does.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

from tests.http_server import QuietHandler, serving
from tests.hub.answers import Answer, RefusalError
from tests.hub.hub import Hub
from tests.hub.routes import ROUTES


@contextmanager
def hub_server(hub: Hub) -> Iterator[Hub]:
    """The hub on a free port of this machine."""

    class Handler(_Handler):
        pass

    Handler.hub = hub
    with serving(Handler) as hub.port:
        try:
            yield hub
        finally:
            if hub.hold is not None:
                hub.hold.set()


class _Handler(QuietHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_GET

    def _serve(self) -> None:
        try:
            self._answer()
        except (ConnectionError, TimeoutError):
            self.close_connection = True  # the client went away, as some tests want it to

    def _answer(self) -> None:
        path = urlsplit(self.path).path
        self.hub.requests.append(f"{self.command} {path}")
        fault = self.hub.fault_of(self.command, path)
        if self.command == "PUT":
            self.hub.uploading.set()
            if self.hub.hold is not None:
                self.hub.hold.wait(timeout=120)
        if fault is not None and fault.status == 0:
            self.rfile.read(1)
            self.close_connection = True
            return
        body = self._body()
        if fault is not None:
            self._send(Answer({"error": fault.message}, status=fault.status))
            return
        self._send(self._routed(path, body))

    def _routed(self, path: str, body: bytes) -> Answer:
        token = (self.headers.get("authorization") or "").removeprefix("Bearer ")
        method = "GET" if self.command == "HEAD" else self.command
        for wanted, pattern, route in ROUTES:
            if wanted == method and (found := re.fullmatch(pattern, path)) is not None:
                try:
                    told = {name: unquote(value) for name, value in found.groupdict().items()}
                    return route(self.hub, token, body, **told)
                except RefusalError as refusal:
                    headers = {"X-Error-Code": refusal.code} if refusal.code else {}
                    headers["X-Error-Message"] = str(refusal)
                    return Answer({"error": str(refusal)}, status=refusal.status, headers=headers)
        return Answer({"error": f"this hub has no {method} {path}"}, status=404)

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        chunks = []
        while size := int(self.rfile.readline() or self._gone(), 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _gone(self) -> bytes:
        raise ConnectionError("the client went away in the middle of a body")

    def _send(self, answer: Answer) -> None:
        content = answer.content
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
