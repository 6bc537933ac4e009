"""Follows a server-sent event stream to its end, with reconnects."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from api.cli.client import Client, Json, UnavailableError

MAX_SECONDS_AWAY = 120.0
"""Time without a reachable server after which `follow_stream` fails."""
_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The job has ended, and so has the stream."""

    status: str


@dataclass(frozen=True, slots=True)
class Idle:
    """The server is reachable, but has no new events."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The server is unreachable; retrying. Sent once per outage; Quiet follows on reconnect."""


Item = Json | Idle | Disconnected | StreamEnded


@dataclass(slots=True)
class _Block:
    """The fields of one server-sent event, possibly incomplete."""

    id: str | None = None
    event: str = "message"
    data: str = ""


def follow_stream(client: Client, path: str, *, after: str | None = None) -> Iterator[Item]:
    """Yields each item after the id `after` once, in order, then Ended. Quiet and Away may occur.

    Raises CommandError if the server rejects the request or is unreachable for two minutes.
    """
    headers = {"accept": "text/event-stream"}
    if after is not None:
        headers["last-event-id"] = after
    away_since = None
    while True:
        try:
            with client.stream(path, headers) as response:
                if away_since is not None:
                    away_since = None
                    yield Idle()
                for item_id, item in _items(response.iter_lines()):
                    headers |= {"last-event-id": item_id} if item_id else {}
                    yield item
                    if isinstance(item, StreamEnded):
                        return
        except (httpx.HTTPError, UnavailableError) as error:
            if away_since is None:
                away_since = time.monotonic()
                yield Disconnected()
            if time.monotonic() - away_since > MAX_SECONDS_AWAY:
                if isinstance(error, UnavailableError):
                    raise
                raise client.unreachable(error) from error
        time.sleep(_PAUSE_SECONDS)


def _items(lines: Iterator[str]) -> Iterator[tuple[str | None, Item]]:
    """Yields the items of one response with their ids."""
    for block in _blocks(lines):
        if block.event == "end":
            yield None, StreamEnded(json.loads(block.data)["status"])
        else:
            yield block.id, json.loads(block.data) if block.data else Idle()


def _blocks(lines: Iterator[str]) -> Iterator[_Block]:
    """Yields the events. An event without data stands for a comment, the server's heartbeat."""
    block = _Block()
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if block.data:
                yield block
            block = _Block()
        elif not name:
            yield _Block()
        elif name == "id":
            block.id = value
        elif name == "event":
            block.event = value
        elif name == "data":
            block.data += value
