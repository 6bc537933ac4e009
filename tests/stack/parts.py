"""The service in parts that can be killed and frozen one by one (`tests.stack.part`).

As under a container engine, a part that has ended is started again after a short pause:
`redis`, `api`, `controller`, `worker-0`, `worker-1`, ...
"""

import os
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from api.cli.stack.server_program import find_server
from tests.ports import free_port
from tests.stack.part import Part, Program
from tests.stack.service import NO_TLS, Service, wait_until

_POLL_SECONDS = 0.05

QUICK = {
    # What was lost is missed within seconds instead of minutes.
    "FLANT5_LEASE_SECONDS": "8",
    "FLANT5_SELF_FENCE_SECONDS": "2",
    "FLANT5_HEARTBEAT_INTERVAL_SECONDS": "0.5",
    "FLANT5_REDIS_TIMEOUT_SECONDS": "0.5",
    "FLANT5_TRAINER_GRACE_SECONDS": "10",
    "FLANT5_REQUEUE_NOTIFY_SECONDS": "2",
    "HF_HUB_OFFLINE": "1",
    # More threads than free cores spin and wait for each other: twenty times slower.
    "OMP_NUM_THREADS": "1",
}

WORKER = (sys.executable, "-m", "worker")


class Parts:
    """All parts of one HOME; a context manager. `settings` are environment variables for all of
    them, `worker` is the command of a worker."""

    def __init__(
        self,
        home: Path,
        *,
        settings: Mapping[str, str] = QUICK,
        worker: tuple[str, ...] = WORKER,
        num_workers: int = 2,
    ) -> None:
        self._redis_port, port = free_port(), free_port()
        self.service = Service(home, f"http://127.0.0.1:{port}/v1")
        self.redis_url = f"redis://127.0.0.1:{self._redis_port}/0"
        self._environment = {
            **os.environ,
            **settings,
            "FLANT5_HOME": str(home),
            "FLANT5_PORT": str(port),
            "FLANT5_REDIS_URL": self.redis_url,
        }
        self.workers = tuple(f"worker-{number}" for number in range(num_workers))
        self._parts = {
            "redis": self._part("redis", self._redis_argv()),
            "api": self._part("api", (sys.executable, "-m", "api")),
            "controller": self._part("controller", (sys.executable, "-m", "worker.controller")),
        }
        for number, name in enumerate(self.workers):
            # Slots of its own, enough for two training processes.
            slots = f"cpu-{2 * number},cpu-{2 * number + 1}"
            own = {"FLANT5_WORKER_NAME": name, "FLANT5_SLOTS": slots}
            self._parts[name] = self._part(name, worker, own)
        self._is_closing = threading.Event()
        self._watch = threading.Thread(target=self._keep_alive, name="parts")

    def __enter__(self) -> Self:
        """Returns when the API says that it is ready."""
        self._watch.start()
        try:
            wait_until(self.is_ready)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __getitem__(self, name: str) -> Part:
        return self._parts[name]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._parts)

    def is_ready(self) -> bool:
        url = self.service.url.removesuffix("/v1")
        try:
            return httpx.get(f"{url}/readyz", timeout=5, verify=NO_TLS, trust_env=False).is_success
        except httpx.TransportError:
            return False

    def open_redis(self) -> Redis:
        """A client of the server; close it."""
        return Redis.from_url(
            self.redis_url, socket_timeout=2, retry=Retry(NoBackoff(), 0), decode_responses=True
        )

    def thaw(self) -> None:
        for part in self._parts.values():
            part.thaw()

    def close(self) -> None:
        """Ends the workers first, which give their jobs back, and Redis last."""
        self.thaw()
        stopping = [threading.Thread(target=self[name].stop) for name in self.workers]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()
        for name in ("controller", "api", "redis"):
            self[name].stop()
        self._is_closing.set()
        self._watch.join()

    def _keep_alive(self) -> None:
        """Runs in a thread of its own, whose end would end all parts: it comes last."""
        while not self._is_closing.wait(_POLL_SECONDS):
            for part in self._parts.values():
                part.keep_alive()

    def _part(self, name: str, argv: tuple[str, ...], own: Mapping[str, str] | None = None) -> Part:
        log = self.service.home / "logs" / f"{name}.log"
        return Part(Program(name, argv, {**self._environment, **(own or {})}, log))

    def _redis_argv(self) -> tuple[str, ...]:
        directory = self.service.home / "redis"
        directory.mkdir(parents=True, exist_ok=True)
        options = {
            "bind": "127.0.0.1",
            "port": str(self._redis_port),
            "dir": str(directory),
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
        }
        flags = [text for name, value in options.items() for text in (f"--{name}", value)]
        return (str(find_server().path), *flags, "--save", "")
