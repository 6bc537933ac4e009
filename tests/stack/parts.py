"""The service in parts, each a process of ours that can be killed and frozen, and comes back.

As under a container engine, a part that has ended is started again after a short pause:
`redis`, `api`, `keeper`, `worker-0`, `worker-1`, ...
"""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from api.cli.embedded_redis import find_server
from tests.stack.service import REPOSITORY, Service, wait_until
from worker.process_tree import descendants, end_with

PAUSE_SECONDS = 0.5
"""Time between the end of a part and its next start."""
STOP_SECONDS = 20.0
_POLL_SECONDS = 0.05
_PORTS = (20_000, 30_000)

QUICK = {
    # What was lost is missed within seconds instead of minutes.
    "FLANT5_LEASE_SECONDS": "8",
    "FLANT5_SELF_FENCE_SECONDS": "2",
    "FLANT5_BEAT_SECONDS": "0.5",
    "FLANT5_REDIS_TIMEOUT_SECONDS": "0.5",
    "FLANT5_TRAINER_GRACE_SECONDS": "10",
    "FLANT5_DOORBELL_SECONDS": "2",
    "HF_HUB_OFFLINE": "1",
    # More threads than free cores spin and wait for each other: twenty times slower.
    "OMP_NUM_THREADS": "1",
}

WORKER = (sys.executable, "-m", "worker")


@dataclass(frozen=True, slots=True)
class Program:
    """What a part runs; its output is appended to `log`."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path


class Part:
    """A program that is started again whenever it has ended. May be used from several threads."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen: list[int] = []
        self._start_at = 0.0
        self._is_wanted = True

    @property
    def pid(self) -> int:
        """Of the process that was started last; it may have ended."""
        assert self._process is not None, "the part was never started"
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        with self._lock:
            return self._process is not None and self._process.poll() is None

    @property
    def is_frozen(self) -> bool:
        return bool(self._frozen)

    def children(self) -> list[int]:
        """Of a worker: the pool process."""
        return [pid for pid in descendants(self.pid) if _parent(pid) == self.pid]

    def keep_alive(self) -> None:
        """Start it unless it runs, is away for longer, or was stopped for good."""
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                return
            if self._process is not None and self._start_at == 0:
                self._start_at = time.monotonic() + PAUSE_SECONDS
            if self._is_wanted and time.monotonic() >= self._start_at:
                self._start()

    def kill(self, *, away_seconds: float = PAUSE_SECONDS) -> None:
        """kill -9; it is started again after `away_seconds`."""
        with self._lock:
            self._start_at = time.monotonic() + away_seconds
            if self._process is not None:
                self._process.kill()
                self._process.wait()

    def freeze(self) -> None:
        """SIGSTOP for it and its children (of a worker the pool process), not their descendants:
        a trainer goes on."""
        self._freeze([self.pid, *self.children()])

    def freeze_tree(self) -> None:
        """SIGSTOP for it and all that descends from it."""
        self._freeze([self.pid, *descendants(self.pid)])

    def thaw(self) -> None:
        """SIGCONT for all that was frozen."""
        frozen, self._frozen = self._frozen, []
        for pid in frozen:
            _signal(pid, signal.SIGCONT)

    def stop(self) -> None:
        """SIGTERM, SIGKILL when that takes too long; it stays away."""
        with self._lock:
            self._is_wanted = False
        self.thaw()
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _freeze(self, pids: list[int]) -> None:
        self._frozen += pids
        for pid in pids:
            _signal(pid, signal.SIGSTOP)

    def _start(self) -> None:
        self._start_at = 0
        self.program.log.parent.mkdir(parents=True, exist_ok=True)
        with self.program.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.program.argv,
                env=dict(self.program.environment),
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=partial(end_with, os.getpid()),
            )


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
        self._redis_port, port = _free_port(), _free_port()
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
            "keeper": self._part("keeper", (sys.executable, "-m", "worker.keeper")),
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
            return httpx.get(f"{url}/readyz", timeout=5, trust_env=False).is_success
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
        for name in ("keeper", "api", "redis"):
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
        return (str(find_server()), *flags, "--save", "")


def _free_port() -> int:
    """One that the kernel gives to no outgoing connection: while a part is away its port must stay
    free, and a client that tries it must not meet itself."""
    while True:
        port = random.randrange(*_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _parent(pid: int) -> int:
    """0 when the process is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(stat.rsplit(")", 1)[1].split()[1])


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it ended before
