"""What the API's tests play with: a file, jobs in a given state, and patience."""

import json
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from api.services.jobs import submit
from worker.jobs.job import Job, JobSpec
from worker.jobs.store.serialization import Claim
from worker.jobs.store.store import JobStore

CONVERSATIONS = b'[{"id": "1", "conversations": [{"from": "human", "value": "Hi"}, '
CONVERSATIONS += b'{"from": "gpt", "value": "Hello!"}]}]\n'


def claim_new_job(store: JobStore, **fields: object) -> Claim:
    job = make_job(store, **fields)
    assert store.accept(job.id)
    claim = store.leases.claim(worker="gpu-0", num_slots=1, lease_seconds=600)
    assert claim is not None
    assert claim.job.id == job.id
    return claim


def make_job(store: JobStore, **fields: object) -> Job:
    spec = {"model": "flant5-demo", "training_file": "chats.json"} | fields
    return store.create(JobSpec.model_validate(spec))


def wait_until(is_true: Callable[[], bool], *, what: str, timeout_seconds: float = 20) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not is_true():
        assert time.monotonic() < deadline, f"waited {timeout_seconds:g} s for {what}"
        time.sleep(0.02)


class HeldBack:
    """A create that has arrived and goes no further until it is told to."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self._go_on = threading.Event()
        self._done = threading.Event()
        self._is_first = threading.Lock()

    def finish(self) -> None:
        self._go_on.set()
        assert self._done.wait(timeout=20)

    def submit(self, *args: Any, **kwargs: Any) -> Job:
        """Stands in for `submit`: the first call waits at its very beginning."""
        if not self._is_first.acquire(blocking=False):
            return submit(*args, **kwargs)
        self.arrived.set()
        assert self._go_on.wait(timeout=20)
        try:
            return submit(*args, **kwargs)
        finally:
            self._done.set()


@contextmanager
def first_create_held_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldBack]:
    held = HeldBack()
    monkeypatch.setattr("api.routes.jobs.submit", held.submit)
    yield held


Stream = Generator["Sent", None, None]


@dataclass(frozen=True, slots=True)
class Sent:
    """One block of a live stream, as a client reads it."""

    id: str | None
    event: str
    data: Any

    @property
    def seq(self) -> int:
        return int(self.data["seq"])


def follow(url: str, *, last_event_id: str | None = None, **params: str) -> Stream:
    """The blocks of a live stream as they come; heartbeats are blocks of event "comment"."""
    headers = {"accept": "text/event-stream"}
    if last_event_id is not None:
        headers["last-event-id"] = last_event_id
    with httpx.stream("GET", url, headers=headers, params=params, timeout=20) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        block: dict[str, str] = {}
        for line in response.iter_lines():
            if line:
                name, _, value = line.partition(":")
                block[name or "comment"] = value.strip()
            elif "comment" in block:
                yield Sent(id=None, event="comment", data=block["comment"])
                block = {}
            elif block:
                if "data" in block:
                    event = block.get("event", "message")
                    yield Sent(id=block.get("id"), event=event, data=json.loads(block["data"]))
                block = {}
