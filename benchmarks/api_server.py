"""API server for load tests: `python -m api` with its own Valkey, without a worker."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from redis import Redis

from api.auth import DEFAULT_SCOPES, KeyHash, Scope, hash_of, new_key
from api.cli.stack.redis import EmbeddedRedis
from benchmarks.live_service import BenchmarkError
from worker.jobs.store.redis import open_redis
from worker.settings import inherited_environment

USER = "user"
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_POLL_SECONDS = 0.05


class ApiServer:
    """One API process, which can be restarted on the same port."""

    def __init__(self, directory: Path, valkey: EmbeddedRedis, redis: Redis) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port: int = probe.getsockname()[1]
        self.home = directory / "home"
        self.data_root = directory
        self.redis = redis
        self.user_key, self.admin_key = new_key(), new_key()
        """Keys of the owner USER, who sees only their own jobs, and of an admin, who sees all."""
        self.url = f"http://127.0.0.1:{port}"
        self._log = directory / "api.log"
        keys_file = directory / "keys"
        keys = (
            KeyHash(USER, hash_of(self.user_key)),
            KeyHash("admin", hash_of(self.admin_key), DEFAULT_SCOPES | {Scope.ADMIN}),
        )
        keys_file.write_text("".join(f"{key.line}\n" for key in keys), encoding="utf-8")
        self._environment = inherited_environment() | {
            "FLANT5_HOME": str(self.home),
            "FLANT5_DATA_ROOT": str(self.data_root),
            "FLANT5_REDIS_URL": valkey.url.get_secret_value(),
            "FLANT5_API_KEYS_FILE": str(keys_file),
            "FLANT5_PORT": str(port),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server was not started"
        return self._process.pid

    def start(self) -> None:
        """Starts the process and waits until it is ready. Raises BenchmarkError."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "api"], env=self._environment, stdout=log, stderr=log
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                words = self._log.read_text("utf-8", "replace")[-2000:]
                raise BenchmarkError(f"the API did not start: {words}")
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Stops the process like a restart of the service: SIGTERM, which closes open streams."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(_STOP_SECONDS)
            self._process = None

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5, trust_env=False).is_success
        except httpx.TransportError:
            return False


@contextmanager
def api_server(directory: Path) -> Iterator[ApiServer]:
    """Yields a running API server; stops it and Valkey at the end."""
    with EmbeddedRedis(directory / "redis") as valkey, open_redis(valkey.url) as redis:
        server = ApiServer(directory, valkey, redis)
        try:
            server.start()
            yield server
        finally:
            server.stop()
