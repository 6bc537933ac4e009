"""A small server that plays MLflow: what of its API a run needs, and failures as they are told."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.http_server import QuietHandler, serving

PREFIX = "/api/2.0/mlflow/"


@dataclass
class FakeMlflow:
    """One experiment. `status` other than 200 is what each request is answered with."""

    status: int = 200
    runs: list[dict[str, Any]] = field(default_factory=list)
    points: list[dict[str, Any]] = field(default_factory=list)
    authorizations: set[str | None] = field(default_factory=set)
    num_requests: int = 0
    hold: threading.Event | None = None
    """When set, no answer comes before this event."""
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def steps(self) -> list[int]:
        """Of the loss, in the order in which they came."""
        return [each["step"] for each in self.points if each["key"] == "train/loss"]

    @property
    def end(self) -> str | None:
        return self.runs[-1]["info"]["status"] if self.runs else None

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path == "experiments/create":
            return {"experiment_id": "1"}
        if path == "runs/search":
            return {"runs": [run | {"data": {"metrics": self._latest()}} for run in self.runs]}
        if path == "runs/create":
            self.runs.append({"info": {"run_id": f"run-{len(self.runs) + 1}", "status": "RUNNING"}})
            return {"run": self.runs[-1]}
        if path == "runs/update":
            self.runs[-1]["info"]["status"] = body["status"]
        if path == "runs/log-batch":
            self.points += body.get("metrics", [])
        return {}

    def _latest(self) -> list[dict[str, Any]]:
        return list({point["key"]: point for point in self.points}.values())


@contextmanager
def playing_mlflow(fake: FakeMlflow) -> Iterator[FakeMlflow]:
    class Handler(QuietHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            fake.num_requests += 1
            fake.authorizations.add(self.headers.get("authorization"))
            if fake.hold is not None:
                fake.hold.wait(timeout=60)
            told: dict[str, Any] = {"error_code": "INTERNAL_ERROR", "message": "no"}
            if fake.status == 200:
                told = fake.answer(self.path.removeprefix(PREFIX), body)
            try:
                self._send(json.dumps(told).encode())
            except ConnectionError:
                return  # the shipper went away, as some tests want it to

        def _send(self, content: bytes) -> None:
            self.send_response(fake.status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    with serving(Handler) as fake.port:
        try:
            yield fake
        finally:
            if fake.hold is not None:
                fake.hold.set()
