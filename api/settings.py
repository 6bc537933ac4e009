"""The environment variables of the API process."""

import ipaddress
import os
import re
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from api.request_rates import RequestRates
from worker.jobs.settings import SharedSettings

_INHERITED = re.compile(
    r"PATH|HOME|USER|LANG|LC_\w+|TZ|TMPDIR|LD_LIBRARY_PATH|PYTHONPATH|VIRTUAL_ENV"
    r"|HF_HOME|HF_HUB_CACHE|XDG_CACHE_HOME|OMP_NUM_THREADS"
)


class ApiSettings(SharedSettings):
    """Built once in `python -m api`; handed to `create_app`."""

    host: str = "127.0.0.1"
    """Address to listen on; one beyond this machine needs API keys."""
    port: int = Field(8000, ge=1, le=65535)
    """Port to listen on."""
    api_keys_file: Path | None = None
    """Keys that callers must show, a line each, as `flant5 keys` writes them; unset means that none
    is asked for."""
    max_file_bytes: int = Field(512 * 2**20, ge=1)
    """Largest file that may be uploaded."""
    max_upload_bytes: int = Field(8 * 2**30, ge=1)
    """Largest file that may be uploaded in parts."""
    max_stored_bytes_per_key: int = Field(0, ge=0)
    """Bytes that one API key may store by uploading files; 0 means any number."""
    upload_seconds: int = Field(24 * 3600, ge=60)
    """Time from the beginning of an upload in parts to its completion; then its parts are
    removed."""
    max_body_bytes: int = Field(2**20, ge=1024)
    """Largest body of any other request."""
    max_submits_per_minute: int = Field(0, ge=0)
    """Jobs that one API key (without keys: one address) may submit in a minute; 0 means any
    number."""
    max_uploads_per_minute: int = Field(0, ge=0)
    """The same for files, uploads and their parts."""
    max_requests_per_minute: int = Field(0, ge=0)
    """The same for all other requests."""
    max_stream_clients: int = Field(1000, ge=1)
    """Live streams held at a time; one more is told to come back later."""
    max_waiting_chats: int = Field(32, ge=1)
    """Questions to models that may wait for a serving process; one more is told to come back
    later."""
    chat_seconds: float = Field(600.0, gt=0)
    """Time an answer of a model may take, waiting included."""
    heartbeat_seconds: float = Field(15.0, gt=0)
    """Longest silence on a live stream: then a comment is sent, so that no proxy cuts it."""
    slow_client_seconds: float = Field(30.0, gt=0)
    """Time a client gets for the headers of a request, for the body beyond a second for every 4 KiB
    of it, and to take what is sent to it; then its connection is closed."""
    stop_grace_seconds: int = Field(5, ge=0)
    """Time that requests in progress get to end when the process is told to stop."""

    @property
    def request_rates(self) -> RequestRates:
        return RequestRates(
            submits=self.max_submits_per_minute,
            uploads=self.max_uploads_per_minute,
            others=self.max_requests_per_minute,
        )

    @model_validator(mode="after")
    def _needs_keys_beyond_this_machine(self) -> Self:
        if self.api_keys_file is None and not _is_loopback(self.host):
            raise ValueError(
                f"FLANT5_HOST is {self.host!r}, which other machines can reach, and no API keys "
                "are configured; make a key with `flant5 keys create NAME` and set "
                "FLANT5_API_KEYS_FILE, or listen on 127.0.0.1"
            )
        return self


def _is_loopback(host: str) -> bool:
    """
    >>> [_is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "gpu-1")]
    [True, True, True, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def child_environment() -> dict[str, str]:
    """What a program that this process starts gets of its environment: no passwords, no keys."""
    return {name: value for name, value in os.environ.items() if _INHERITED.fullmatch(name)}
