"""`python -m api`: starts the API server."""

import signal
import sys
from socket import socket
from types import FrameType

import uvicorn
from pydantic import ValidationError

from api.app import create_app
from api.auth import KeysFileError
from api.dependencies import Services
from api.descriptors import allow_connections
from api.http.protocol import http_protocol
from api.settings import ApiSettings
from api.start_guard import StartGuard
from worker.jobs.errors import StartRefusedError
from worker.jobs.logging import configure_logging
from worker.jobs.settings import settings_fault


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
        self._services.tail.close()
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
    allow_connections(settings.max_stream_clients)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=http_protocol(slow_client_seconds=settings.slow_client_seconds),
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
