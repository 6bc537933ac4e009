"""Child processes of `flant5 up`: start, restart on failure, stop.

They are Valkey, the API, the worker, the controller and the serving process, plus the webhook and
integration senders if they are configured.
"""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import httpx
from pydantic import SecretStr

from api.cli.client import CommandError, local_url
from api.cli.settings import UpSettings, inherited_environment
from api.cli.stack.redis import EmbeddedRedis, EmbeddedRedisError
from api.cli.views.log import LogView
from api.settings import ApiSettings
from flant5_train.protocol.host import end_with
from worker.jobs.errors import StartRefusedError, StoreUnavailableError
from worker.jobs.http_client import NetworkSettingsError, open_client
from worker.jobs.startup.start_check import check_start

_SETTLED_SECONDS = 30.0
"""Uptime that resets the restart delay to its minimum."""
_MIN_PAUSE_SECONDS = 0.5
_MAX_PAUSE_SECONDS = 30.0
_MAX_LOG_BYTES = 16 * 2**20
_LAST_WORDS = 5


@dataclass(frozen=True, slots=True)
class Program:
    """A program to start. Its output is appended to `log`."""

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    log: Path
    stop_seconds: float
    """Timeout for a graceful shutdown."""


class ServiceProcess:
    """A program that is restarted until it is stopped on request."""

    def __init__(self, program: Program, *, inherited: tuple[int, ...]) -> None:
        self._program = program
        self._inherited = inherited
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._log_begins = 0
        self._start_again_at = 0.0
        self._pause_seconds = _MIN_PAUSE_SECONDS

    @property
    def name(self) -> str:
        return self._program.name

    @property
    def log(self) -> Path:
        return self._program.log

    @property
    def stop_seconds(self) -> float:
        return self._program.stop_seconds

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts the process. It ends with this one, and receives no Ctrl-C from the terminal."""
        with _open_log(self._program.log) as log:
            self._log_begins = log.tell()
            self._process = subprocess.Popen(
                self._program.argv,
                env=self._program.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=self._inherited,
                preexec_fn=partial(end_with, os.getpid(), by=signal.SIGTERM),
            )
        self._started_at = time.monotonic()

    def keep_alive(self) -> str | None:
        """Restarts a dead process with exponential backoff. Returns a message to show, if any."""
        if self.is_alive:
            return None
        if self._process is None:
            if time.monotonic() < self._start_again_at:
                return None
            self.start()
            return f"{self.name} restarted"
        if time.monotonic() - self._started_at > _SETTLED_SECONDS:
            self._pause_seconds = _MIN_PAUSE_SECONDS
        notice = f"{self.name} {self.describe_end()}; restarting in {self._pause_seconds:g} s"
        self._process = None
        self._start_again_at = time.monotonic() + self._pause_seconds
        self._pause_seconds = min(2 * self._pause_seconds, _MAX_PAUSE_SECONDS)
        return notice

    def describe_end(self) -> str:
        """Describes how the process ended."""
        code = self._process.poll() if self._process else None
        if code is None:
            return "is not running"
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"exited with code {code}"

    def last_words(self) -> str:
        """Returns the last lines of its output since the last start, on one line."""
        with self.log.open("rb") as log:
            log.seek(self._log_begins)
            lines = log.read(_MAX_LOG_BYTES).decode("utf-8", "replace").splitlines()
        return " | ".join(lines[-_LAST_WORDS:])

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the process, if it has been started."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """Kills the process and its process group."""
        if self._process is not None and self.is_alive:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _open_log(path: Path) -> BinaryIO:
    """Opens the log for appending. A large log is first renamed to `.1`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > _MAX_LOG_BYTES:
        path.replace(path.with_name(path.name + ".1"))
    return path.open("ab")


_POLL_SECONDS = 0.1
_WATCH_SECONDS = 0.25
"""Polling interval. Shorter intervals would slow down a trainer that uses all cores."""
_READY_SECONDS = 120.0
_STOP_SECONDS = 15.0
_MARGIN_SECONDS = 30.0
"""Time for the worker to finish, in addition to the trainer's time for saving."""

Notify = Callable[[str], None]


class Stack:
    """The processes of one HOME. `say` prints messages to the terminal.

    After the first stop request, the worker can save a checkpoint. The second kills the processes.
    """

    def __init__(self, settings: UpSettings, *, lock: int, notify: Notify) -> None:
        self._settings = settings
        self._home = settings.home.resolve()
        self._notify = notify
        self._redis: EmbeddedRedis | None = None
        if settings.redis_url is None:
            password = SecretStr(secrets.token_urlsafe(32))
            self._redis = EmbeddedRedis(self._home / "redis", password=password, inherited=(lock,))
        self._lock = lock
        self._children: tuple[ServiceProcess, ...] = ()
        self._num_stop_requests = 0
        self._view = LogView(notify)

    @property
    def url(self) -> str:
        """Address of the API for clients on this machine."""
        return local_url(self._settings.host, self._settings.port)

    def request_stop(self) -> None:
        """Requests a stop. May be called from a signal handler."""
        self._num_stop_requests += 1

    def start(self) -> bool:
        """Returns True when the API is ready; False if a stop was requested first.

        Raises CommandError with the last output of a process that did not start.
        """
        self._start_redis()
        self._check_store()
        self._children = tuple(
            ServiceProcess(program, inherited=(self._lock,)) for program in self._programs()
        )
        for child in self._children:
            self._view.add(child.name, child.log)
            child.start()
        deadline = time.monotonic() + _READY_SECONDS
        while not self._is_ready():
            if self._num_stop_requests:
                return False
            self._refuse_dead_children()
            if time.monotonic() > deadline:
                raise CommandError(f"no response from the API at {self.url}; see {self._home}/logs")
            self._view.show_new_lines()
            time.sleep(_POLL_SECONDS)
        self._refuse_dead_children()
        return True

    def watch(self) -> None:
        """Restarts dead processes until a stop is requested."""
        while not self._num_stop_requests:
            if self._redis is not None and self._redis.process.poll() is not None:
                self._notify("redis exited; restarting it")
                self._start_redis()
            for child in self._children:
                if notice := child.keep_alive():
                    self._notify(notice)
            self._view.show_new_lines()
            time.sleep(_WATCH_SECONDS)

    def stop(self) -> None:
        """Stops the worker first, which saves a checkpoint and requeues its job; Redis last."""
        for child in self._children:
            self._stop_child(child)
        self._view.show_new_lines()
        if self._redis is not None:
            self._redis.stop()

    def _stop_child(self, child: ServiceProcess) -> None:
        child.send(signal.SIGTERM)
        deadline = time.monotonic() + child.stop_seconds
        while child.is_alive:
            if self._num_stop_requests > 1 or time.monotonic() > deadline:
                self._notify(f"{child.name} did not stop in time; killing it")
                child.kill()
            self._view.show_new_lines()
            time.sleep(_POLL_SECONDS)

    def _start_redis(self) -> None:
        if self._redis is None:
            return
        try:
            self._redis.start()
            for line in self._redis.passed_over:
                self._notify(f"redis: skipped a server: {line}")
        except EmbeddedRedisError as error:
            raise CommandError(str(error)) from error

    def _check_store(self) -> None:
        """Checks Redis once, for all processes. Raises CommandError if it can't be used."""
        host, port = self._settings.host, self._settings.port
        settings = ApiSettings(home=self._home, host=host, port=port)
        url = settings.redis_url if self._redis is None else self._redis.url
        try:
            check_start(
                url,
                settings.home_directories,
                use="writes",
                may_lose_data=settings.allow_lossy_redis,
            )
        except StartRefusedError as error:
            raise CommandError(str(error)) from error
        except StoreUnavailableError as error:
            self._notify(f"Redis is not available yet: {error}")

    def _programs(self) -> tuple[Program, ...]:
        """Returns the programs in shutdown order."""
        worker_seconds = self._settings.trainer_grace_seconds + _MARGIN_SECONDS
        modules = {"serve": "worker.serving", "controller": "worker.controller", "api": "api"}
        if self._settings.webhooks_file is not None:
            modules["webhooks"] = "worker.webhooks"
        if self._settings.integrations_file is not None:
            modules["integrations"] = "worker.integrations"
        return (
            self._program("worker", "worker", stop_seconds=worker_seconds),
            *(
                self._program(name, module, stop_seconds=_STOP_SECONDS)
                for name, module in modules.items()
            ),
        )

    def _program(self, name: str, module: str, *, stop_seconds: float) -> Program:
        environment = inherited_environment() | {
            "FLANT5_HOME": str(self._home),
            "FLANT5_HOST": self._settings.host,
            "FLANT5_PORT": str(self._settings.port),
        }
        if self._redis is not None:
            environment["FLANT5_REDIS_URL"] = self._redis.url.get_secret_value()
            environment.pop("FLANT5_REDIS_PASSWORD_FILE", None)
        return Program(
            name=name,
            argv=(sys.executable, "-m", module),
            environment=environment,
            log=self._home / "logs" / f"{name}.log",
            stop_seconds=stop_seconds,
        )

    def _is_ready(self) -> bool:
        try:
            with open_client(timeout=5, trust_env=False) as client:
                return client.get(f"{self.url}/readyz").is_success
        except NetworkSettingsError as error:
            raise CommandError(str(error)) from error
        except httpx.TransportError:
            return False

    def _refuse_dead_children(self) -> None:
        for child in self._children:
            if not child.is_alive:
                raise CommandError(f"{child.name} {child.describe_end()}: {child.last_words()}")
