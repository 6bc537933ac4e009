"""Runs the whole service as child processes.

These are Valkey, the API, the worker, the keeper and the serving process, plus the webhook and
integration senders if they are configured.
"""

import secrets
import signal
import sys
import time
from collections.abc import Callable

import httpx
from pydantic import SecretStr

from api.cli.address import local_url
from api.cli.child import Child, Program
from api.cli.errors import CommandError
from api.cli.settings import UpSettings, inherited_environment
from api.cli.stack.redis import EmbeddedRedis, EmbeddedRedisError
from api.cli.views.log import LogView
from api.settings import ApiSettings
from worker.jobs.errors import StartRefusedError, StoreUnavailableError
from worker.jobs.http_client import NetworkSettingsError, open_client
from worker.jobs.startup.start_check import check_start

_POLL_SECONDS = 0.1
_WATCH_SECONDS = 0.25
"""Polling interval. Shorter intervals would slow down a trainer that uses all cores."""
_READY_SECONDS = 120.0
_STOP_SECONDS = 15.0
_MARGIN_SECONDS = 30.0
"""Time for the worker to finish, in addition to the trainer's time for saving."""

Say = Callable[[str], None]


class Stack:
    """The processes of one HOME. `say` prints messages to the terminal.

    After the first stop request, the worker can save a checkpoint. The second kills the processes.
    """

    def __init__(self, settings: UpSettings, *, lock: int, say: Say) -> None:
        self._settings = settings
        self._home = settings.home.resolve()
        self._say = say
        self._redis: EmbeddedRedis | None = None
        if settings.redis_url is None:
            password = SecretStr(secrets.token_urlsafe(32))
            self._redis = EmbeddedRedis(self._home / "redis", password=password, inherited=(lock,))
        self._lock = lock
        self._children: tuple[Child, ...] = ()
        self._num_stop_requests = 0
        self._view = LogView(say)

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
            Child(program, inherited=(self._lock,)) for program in self._programs()
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
                self._say("redis exited; restarting it")
                self._start_redis()
            for child in self._children:
                if said := child.keep_alive():
                    self._say(said)
            self._view.show_new_lines()
            time.sleep(_WATCH_SECONDS)

    def stop(self) -> None:
        """Stops the worker first, which saves a checkpoint and requeues its job; Redis last."""
        for child in self._children:
            self._stop_child(child)
        self._view.show_new_lines()
        if self._redis is not None:
            self._redis.stop()

    def _stop_child(self, child: Child) -> None:
        child.send(signal.SIGTERM)
        deadline = time.monotonic() + child.stop_seconds
        while child.is_alive:
            if self._num_stop_requests > 1 or time.monotonic() > deadline:
                self._say(f"{child.name} did not stop in time; killing it")
                child.kill()
            self._view.show_new_lines()
            time.sleep(_POLL_SECONDS)

    def _start_redis(self) -> None:
        if self._redis is None:
            return
        try:
            self._redis.start()
            for line in self._redis.passed_over:
                self._say(f"redis: skipped a server: {line}")
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
            self._say(f"Redis is not available yet: {error}")

    def _programs(self) -> tuple[Program, ...]:
        """Returns the programs in shutdown order."""
        worker_seconds = self._settings.trainer_grace_seconds + _MARGIN_SECONDS
        modules = {"serve": "worker.serving", "keeper": "worker.keeper", "api": "api"}
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
