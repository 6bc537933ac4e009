"""Valkey (or Redis) server as a child process, for machines without one.

It binds only to the loopback address, keeps an append-only file and never evicts a key.
"""

import os
import signal
import socket
import string
import subprocess
import time
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from pydantic import SecretStr
from redis import Redis, exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from api.cli.stack.server_program import NoRedisServerError, ServerProgram, find_server
from flant5_train.protocol.host import end_with

START_SECONDS = 60.0
STOP_SECONDS = 20.0

_HOST = "127.0.0.1"
_PLAIN = frozenset(string.ascii_letters + string.digits + "/._-:")


class EmbeddedRedisError(Exception):
    """The server was not found or did not start. The message contains the reason."""


class EmbeddedRedis:
    """The server of one data directory; a context manager that starts and stops it.

    The port is chosen at the first start and kept across restarts. Start the server from the main
    thread: it ends with the thread that started it. The server keeps the descriptors in
    `inherited` open, such as the lock on its directory.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        password: SecretStr | None = None,
        inherited: tuple[int, ...] = (),
    ) -> None:
        self._directory = directory.resolve()
        self._port = port
        self._password = password
        self._inherited = inherited
        self._process: subprocess.Popen[bytes] | None = None
        self._program: ServerProgram | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> SecretStr:
        credentials = (
            f":{quote(self._password.get_secret_value(), safe='')}@" if self._password else ""
        )
        return SecretStr(f"redis://{credentials}{_HOST}:{self._port}/0")

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running server process."""
        assert self._process is not None, "the server was not started"
        return self._process

    @property
    def log(self) -> Path:
        return self._directory / "server.log"

    @property
    def passed_over(self) -> tuple[str, ...]:
        """Servers that were found but rejected, with the reason; one line each."""
        return self._program.passed_over if self._program else ()

    def _found(self) -> ServerProgram:
        """Returns the server program. It is searched once: a restart uses the same program."""
        try:
            self._program = self._program or find_server(self._directory)
        except (NoRedisServerError, OSError) as error:
            raise EmbeddedRedisError(str(error)) from error
        return self._program

    def start(self) -> None:
        """Starts the server and waits until it is ready. Raises EmbeddedRedisError."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._port = self._port or _free_port()
        # Standard input carries the configuration: all users can see a password in argv.
        self._process = subprocess.Popen(
            [str(self._found().path), "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=self._inherited,
            preexec_fn=partial(end_with, os.getpid(), by=signal.SIGTERM),
        )
        assert self._process.stdin is not None
        self._process.stdin.write(self._configuration().encode())
        self._process.stdin.close()
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Shuts the server down gracefully: it writes everything to disk."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """Kills the server (kill -9)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _configuration(self) -> str:
        lines = [
            f"bind {_HOST}",
            f"port {self._port}",
            f"dir {_quoted(self._directory)}",
            f"logfile {_quoted(self.log)}",
            "appendonly yes",
            # Writes are rare here. With `everysec`, each WAITAOF of the store takes up to 100 ms.
            "appendfsync always",
            'save ""',
            "maxmemory-policy noeviction",
        ]
        if self._password:
            lines.append(f'requirepass "{self._password.get_secret_value()}"')
        return "\n".join(lines) + "\n"

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        with Redis.from_url(
            self.url.get_secret_value(), socket_timeout=2, retry=Retry(NoBackoff(), 0)
        ) as redis:
            while process.poll() is None:
                try:
                    # Another server on this port would respond as well.
                    state = redis.info()
                    # INFO is the only command that works while the server loads its data.
                    if int(state["process_id"]) == process.pid and not state["loading"]:
                        return
                except (exceptions.ConnectionError, exceptions.TimeoutError):
                    if time.monotonic() > deadline:
                        break
                time.sleep(0.02)
        raise EmbeddedRedisError(
            f"the server did not start on {_HOST}:{self._port} in {self._directory}: "
            f"{self._last_log_lines()}"
        )

    def _last_log_lines(self) -> str:
        if not self.log.exists():
            return "no log was written"
        return " | ".join(self.log.read_text("utf-8", "replace").splitlines()[-3:])


def _quoted(path: Path) -> str:
    r"""Returns the path quoted for a configuration file; escapes all special characters.

    >>> _quoted(Path('/run 10:30/"q"'))
    '"/run\\x2010:30/\\x22q\\x22"'
    """
    plain = (chr(byte) if chr(byte) in _PLAIN else f"\\x{byte:02x}" for byte in os.fsencode(path))
    return f'"{"".join(plain)}"'


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        port: int = probe.getsockname()[1]
        return port
