"""Follows a live stream of the API to its end, over broken connections."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from api.cli.client import Client, Json, UnavailableError

MAX_SECONDS_AWAY = 120.0
"""Time a server may be away before a command that follows it gives up."""
_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Ended:
    """The job ended; nothing follows."""

    status: str


@dataclass(frozen=True, slots=True)
class Quiet:
    """Nothing has happened for a while; the server is there."""


@dataclass(frozen=True, slots=True)
class Away:
    """The server can't be reached; it is tried again. Told once, and Quiet when it is back."""


Item = Json | Quiet | Away | Ended


@dataclass(slots=True)
class _Block:
    """The fields of one server-sent event, as far as they came."""

    id: str | None = None
    event: str = "message"
    data: str = ""


def follow(client: Client, path: str, *, after: str | None = None) -> Iterator[Item]:
    """Each item of the stream (after the one with the id `after`) once, in order, then Ended; now
    and then Quiet or Away between them.

    Raises CommandError when the server refuses, or was away for two minutes.
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
                    yield Quiet()
                for item_id, item in _items(response.iter_lines()):
                    headers |= {"last-event-id": item_id} if item_id else {}
                    yield item
                    if isinstance(item, Ended):
                        return
        except (httpx.HTTPError, UnavailableError) as error:
            if away_since is None:
                away_since = time.monotonic()
                yield Away()
            if time.monotonic() - away_since > MAX_SECONDS_AWAY:
                if isinstance(error, UnavailableError):
                    raise
                raise client.unreachable(error) from error
        time.sleep(_PAUSE_SECONDS)


def _items(lines: Iterator[str]) -> Iterator[tuple[str | None, Item]]:
    """What one answer holds, each item with its id."""
    for block in _blocks(lines):
        if block.event == "end":
            yield None, Ended(json.loads(block.data)["status"])
        else:
            yield block.id, json.loads(block.data) if block.data else Quiet()


def _blocks(lines: Iterator[str]) -> Iterator[_Block]:
    """The events in the lines; one without data stands for a comment, the server's heartbeat."""
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
