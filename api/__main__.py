"""`python -m api`: starts the API server.

It raises its limit of open file descriptors first, because each live stream uses one. It also
checks the store at the start. While Redis is unavailable, the API already serves /healthz, and the
check follows as soon as Redis responds.
"""

import logging
import resource
import signal
import sys
import threading
from collections.abc import Callable
from socket import socket
from types import FrameType

import uvicorn
from pydantic import ValidationError

from api.app import create_app
from api.auth import KeysFileError
from api.dependencies import Services
from api.http.protocol import http_protocol
from api.settings import ApiSettings
from worker.jobs.errors import StartRefusedError, StoreUnavailableError
from worker.jobs.logging import configure_logging
from worker.jobs.settings import settings_fault
from worker.jobs.startup.start_check import check_directories, check_start, wait_for_start

_OTHERS = 512
"""Descriptors for files, Redis connections, requests in progress, and rejected clients."""

_log = logging.getLogger(__name__)


def raise_fd_limit(num_streams: int) -> None:
    """Raises this process's limit of open files, up to the hard limit. Many systems default to
    1,024, too few for 1,000 streams and everything else."""
    wanted = num_streams + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if allowed < wanted:
        _log.warning(
            "open files: hard limit %d is too low for %d live streams; "
            "raise it with `ulimit -n`, or lower FLANT5_MAX_STREAM_CLIENTS",
            hard,
            num_streams,
        )
    if allowed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


class StartGuard:
    """Checks the store at once, or as soon as Redis responds."""

    def __init__(self, settings: ApiSettings) -> None:
        self._settings = settings
        self._is_checked = False
        self.refusal: StartRefusedError | None = None

    def check(self) -> None:
        """Raises StartRefusedError. An unavailable Redis does not stop the start."""
        check_directories(self._settings.home_directories, use="api")
        try:
            check_start(
                self._settings.redis_url,
                self._settings.home_directories,
                use="api",
                may_lose_data=self._settings.allow_lossy_redis,
            )
        except StoreUnavailableError as error:
            _log.warning("start: store is unavailable, serving 503 until it responds: %s", error)
        else:
            self._is_checked = True

    def watch(self, stop: Callable[[], None]) -> None:
        """Runs the pending check in the background. Calls `stop` if it fails."""
        if not self._is_checked:
            threading.Thread(target=self._wait, args=(stop,), daemon=True).start()

    def _wait(self, stop: Callable[[], None]) -> None:
        try:
            wait_for_start(
                self._settings.redis_url,
                self._settings.home_directories,
                use="api",
                may_lose_data=self._settings.allow_lossy_redis,
            )
        except StartRefusedError as error:
            self.refusal = error
            _log.critical("start: refused, shutting down: %s", error)
            stop()


class _Server(uvicorn.Server):
    """Closes live streams at shutdown. They would never end by themselves, and their clients
    reconnect with a cursor."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self._services = services

    def request_stop(self) -> None:
        """Requests a shutdown. May be called from another thread."""
        self.should_exit = True

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        self._services.broadcaster.close()
        await super().shutdown(sockets)


def main() -> int:
    try:
        settings = ApiSettings()
        configure_logging(settings.log_format, process="api")
        guard = StartGuard(settings)
        guard.check()
        app = create_app(settings)
    except (ValidationError, KeysFileError, StartRefusedError) as error:
        sys.stderr.write(f"flant5 api: {_reason(error)}\n")
        return 2
    raise_fd_limit(settings.max_stream_clients)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=http_protocol(slow_client_seconds=settings.client_timeout_seconds),
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=settings.stop_grace_seconds,
    )
    # uvicorn raises the signal that stopped it again after its shutdown.
    signal.signal(signal.SIGTERM, _end_well)
    signal.signal(signal.SIGINT, _end_well)
    server = _Server(config, app.state.services)
    guard.watch(server.request_stop)
    server.run()
    return 2 if guard.refusal else 0


def _end_well(number: int, frame: FrameType | None) -> None:
    sys.exit(0)


def _reason(error: ValidationError | KeysFileError | StartRefusedError) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    return settings_fault(error)


if __name__ == "__main__":
    sys.exit(main())
