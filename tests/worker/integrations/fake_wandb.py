"""A small server that plays W&B: what the library's own program asks of it for one run."""

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.http_server import QuietHandler, serving

_PROJECT = {"id": "p", "name": "chats", "entity": {"id": "e", "name": "team"}}


@dataclass
class FakeWandb:
    """One run, whose history only grows."""

    history: list[str] = field(default_factory=list)
    exit_codes: list[int] = field(default_factory=list)
    run: dict[str, Any] | None = None
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def points(self) -> dict[tuple[str, int], list[float]]:
        points: dict[tuple[str, int], list[float]] = {}
        for row in map(json.loads, self.history):
            for name, value in row.items():
                if not name.startswith("_"):
                    points.setdefault((name, row["_step"]), []).append(value)
        return points

    def ask(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        if operation == "RunResumeStatus":
            return {"model": _PROJECT | {"bucket": self._bucket()}}
        if operation == "UpsertBucket":
            self.run = {key: value for key, value in variables.items() if value is not None}
            bucket = {"id": "r", "name": variables.get("name"), "project": _PROJECT}
            return {"upsertBucket": {"bucket": bucket, "inserted": not self.history}}
        if operation == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": f"{self.url}/up"} for name in variables["files"]]
            return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}
        return {}

    def stream(self, body: dict[str, Any]) -> None:
        lines = body.get("files", {}).get("wandb-history.jsonl")
        if lines is not None:
            # The place is the client's: what it sends twice lies there once.
            self.history[lines["offset"] :] = lines["content"]
        if body.get("complete"):
            self.exit_codes.append(body["exitcode"])

    def _bucket(self) -> dict[str, Any] | None:
        if self.run is None:
            return None
        return {
            "id": "r",
            "name": self.run.get("name"),
            "historyLineCount": len(self.history),
            "eventsLineCount": 0,
            "logLineCount": 0,
            "historyTail": json.dumps(self.history[-1:]),
            "eventsTail": "[]",
            "summaryMetrics": self.history[-1] if self.history else "{}",
            "config": "{}",
            "tags": [],
            "wandbConfig": '{"t": 1}',
        }


@contextmanager
def playing_wandb(fake: FakeWandb) -> Iterator[FakeWandb]:
    class Handler(QuietHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            told: dict[str, Any] = {}
            if self.path == "/graphql":
                query = json.loads(body)
                told = {"data": fake.ask(query["operationName"], query.get("variables") or {})}
            elif self.path.endswith("/file_stream"):
                fake.stream(json.loads(body))
            content = json.dumps(told).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_PUT = do_POST

    with serving(Handler) as fake.port:
        yield fake
