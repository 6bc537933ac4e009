"""Many clients of live streams in one process. Prints their results as JSON:

    python -m benchmarks.stream_clients http://127.0.0.1:8000 KEY NUM_CLIENTS JOB_ID ...

    {"delays_ms": [3.1, ...], "received": {"ftjob-...": [42, 42, ...]}, "num_returns": 0}

Each client follows the events of one job to their end, and reconnects with `Last-Event-ID` if its
connection breaks. The process prints `ready` once all clients are connected.
"""

import asyncio
import json
import re
import sys
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_FRAME = re.compile(rb'id: (ft-event-(\d+)-\d+)\ndata: .*?"seq":(\d+)')
_END = b"event: end"
_RETRY_SECONDS = 2.0
"""The reconnection delay that the server sends to browsers."""
_MAX_SECONDS = 120.0


class SequenceError(Exception):
    """An event arrived twice, or is missing between two others."""


@dataclass(slots=True)
class Crowd:
    """Results of all clients of this process."""

    url: str
    key: str
    num_clients: int
    delays_ms: list[float] = field(default_factory=list)
    """Delays from the store's clock to here, for events during the client's connection."""
    received: dict[str, list[int]] = field(default_factory=dict)
    """Per job, the number of events of each of its clients, each once and in order."""
    num_returns: int = 0
    num_connected: int = 0

    def connected(self) -> None:
        self.num_connected += 1
        if self.num_connected == self.num_clients:
            sys.stdout.write("ready\n")
            sys.stdout.flush()

    def summary(self) -> str:
        return json.dumps(
            {
                "delays_ms": self.delays_ms,
                "received": self.received,
                "num_returns": self.num_returns,
            }
        )


class StreamClient:
    """One client and its position in the stream."""

    def __init__(self, job_id: str, crowd: Crowd) -> None:
        self._address = urlsplit(crowd.url)
        self._job_id = job_id
        self._crowd = crowd
        self._last_id: str | None = None
        self._num_received = 0
        self._was_connected = False

    async def follow(self) -> None:
        while not await self._has_ended():
            self._crowd.num_returns += self._was_connected
            await asyncio.sleep(_RETRY_SECONDS)
        self._crowd.received.setdefault(self._job_id, []).append(self._num_received)

    async def _has_ended(self) -> bool:
        """Opens one connection and reads it. Returns False if it broke."""
        try:
            reader, writer = await asyncio.open_connection(
                self._address.hostname, self._address.port
            )
        except OSError:
            return False
        try:
            writer.write(self._request())
            return await self._read(reader, asked_at=time.time())
        except (OSError, asyncio.IncompleteReadError):
            return False
        finally:
            writer.close()

    def _request(self) -> bytes:
        lines = [
            f"GET /v1/fine_tuning/jobs/{self._job_id}/events HTTP/1.1",
            f"Host: {self._address.netloc}",
            f"Authorization: Bearer {self._crowd.key}",
            "Accept: text/event-stream",
        ]
        if self._last_id is not None:
            lines.append(f"Last-Event-ID: {self._last_id}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    async def _read(self, reader: asyncio.StreamReader, *, asked_at: float) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            return False
        if not self._was_connected:
            self._was_connected = True
            self._crowd.connected()
        while True:
            # HTTP chunk sizes come between blocks and never inside one.
            block = await reader.readuntil(b"\n\n")
            now = time.time()
            if not self.take(block, asked_at, now) and _END in block:
                return True

    def take(self, block: bytes, asked_at: float, now: float) -> bool:
        """Records an event. Returns False if the block is not an event. Times are Unix seconds.

        Raises SequenceError.
        """
        found = _FRAME.search(block)
        if found is None:
            return False
        if int(found[3]) != self._num_received + 1:
            raise SequenceError(f"event {int(found[3])} after {self._num_received}")
        self._num_received += 1
        self._last_id = found[1].decode()
        happened_at = int(found[2]) / 1000
        if happened_at > asked_at:
            self._crowd.delays_ms.append(1000 * (now - happened_at))
        return True


async def follow_all(crowd: Crowd, job_ids: list[str]) -> None:
    """Follows all streams to their end."""
    async with asyncio.timeout(_MAX_SECONDS), asyncio.TaskGroup() as tasks:
        for number in range(crowd.num_clients):
            client = StreamClient(job_ids[number % len(job_ids)], crowd)
            tasks.create_task(client.follow())


def main(argv: list[str]) -> int:
    url, key, num_clients, *job_ids = argv
    crowd = Crowd(url, key, int(num_clients))
    asyncio.run(follow_all(crowd, job_ids))
    sys.stdout.write(crowd.summary() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
