"""Files that are no conversations: each is uploaded, some are reported on, all are deleted."""

import json
from itertools import chain

from tests.security.campaign import Tally, fault_of
from tests.security.corpus.contents import contents, reported_contents
from tests.security.corpus.forms import file_form
from tests.security.malformed import Malformed
from tests.security.server import Server
from tests.security.wire import Answer, Wire

_NAMES = (b"a.jsonl", b"\xff\xfe.json", b"a\x1b[2Jb", b"<img src=x>", b"../../x", b"n" * 200)


def sent_files(server: Server) -> Tally:
    """Uploads, with names as odd as their contents."""
    sender = _Sender(server, Tally("file contents"))
    with server.wire() as wire:
        for number, content in enumerate(chain(contents(), reported_contents())):
            if path := sender.uploaded(wire, content, name=_NAMES[number % len(_NAMES)]):
                sender.expect_ok(wire, "DELETE", path)
    return sender.tally


def reported_files(server: Server) -> Tally:
    """Reports on files that are no conversations."""
    sender = _Sender(server, Tally("reports on such files"))
    with server.wire() as wire:
        for content in reported_contents():
            if path := sender.uploaded(wire, content, name=b"a.jsonl"):
                sender.expect_ok(wire, "GET", f"{path}/report?wait_seconds=30")
                if sender.expect_ok(wire, "GET", f"{path}/content").body != content:
                    sender.tally.defects.append(f"another content came back: {content[:80]!r}")
                sender.expect_ok(wire, "DELETE", path)
    return sender.tally


class _Sender:
    """Counts the uploads; what follows on them only has to succeed."""

    def __init__(self, server: Server, tally: Tally) -> None:
        self._authorization = server.authorization
        self.tally = tally

    def uploaded(self, wire: Wire, content: bytes, *, name: bytes) -> str | None:
        """The path of the new file; None when it was refused."""
        headers, form = file_form(name, content)
        upload = Malformed("POST", "/v1/files", headers, form, may_pass=True)
        answer = wire.ask(upload.encoded(self._authorization))
        self.tally.statuses[str(answer.status)] += 1
        if fault := fault_of(answer, upload):
            self.tally.defects.append(f"{answer.status} {fault}: {content[:80]!r}")
        return f"/v1/files/{json.loads(answer.body)['id']}" if answer.status == 200 else None

    def expect_ok(self, wire: Wire, method: str, path: str) -> Answer:
        answer = wire.ask(Malformed(method, path).encoded(self._authorization))
        if answer.status != 200:
            self.tally.defects.append(f"{answer.status} to {method} {path}: {answer.body[:80]!r}")
        return answer
