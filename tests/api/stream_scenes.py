"""What a worker writes and a client of a live stream sees."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.api.scenes import Sent
from worker.jobs.store.serialization import Claim, NewEvent, NewLogLine, Update
from worker.jobs.store.store import JobStore


def report(store: JobStore, claim: Claim, *messages: str) -> None:
    events = tuple(NewEvent(message) for message in messages)
    assert store.leases.record(claim, Update(events=events))


def write(store: JobStore, claim: Claim, *lines: str) -> None:
    assert store.leases.record(claim, Update(log_lines=tuple(NewLogLine(line) for line in lines)))


def url_of(server_url: str, claim: Claim, topic: str = "events") -> str:
    return f"{server_url}/fine_tuning/jobs/{claim.job.id}/{topic}"


@contextmanager
def in_background(stream: Iterator[Sent]) -> Iterator[list[Sent]]:
    """Reads the stream to its end; the list grows meanwhile, and is whole when the block ends."""
    seen: list[Sent] = []
    thread = threading.Thread(target=drain, args=(stream, seen), daemon=True)
    thread.start()
    yield seen
    thread.join(timeout=20)
    assert not thread.is_alive(), "the stream did not end"


def drain(stream: Iterator[Sent], seen: list[Sent]) -> None:
    for sent in stream:
        seen.append(sent)


def messages(seen: list[Sent]) -> list[str]:
    return [sent.data["message"] for sent in seen if sent.event == "message"]
