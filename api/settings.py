"""Environment variables of the API process, and the rate limits per caller in them."""

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from worker.jobs.settings import SharedSettings


@dataclass(frozen=True, slots=True)
class RequestRates:
    """Maximum requests per minute and caller. 0 disables a limit."""

    submits: int = 0
    uploads: int = 0
    others: int = 0


_INHERITED = re.compile(
    r"PATH|HOME|USER|LANG|LC_\w+|TZ|TMPDIR|LD_LIBRARY_PATH|PYTHONPATH|VIRTUAL_ENV"
    r"|HF_HOME|HF_HUB_CACHE|XDG_CACHE_HOME|OMP_NUM_THREADS"
)


class ApiSettings(SharedSettings):
    """Settings of the API. Built once in `python -m api`, then passed to `create_app`."""

    host: str = "127.0.0.1"
    """Address to listen on. An address reachable from other machines requires API keys."""
    port: int = Field(8000, ge=1, le=65535)
    """Port to listen on."""
    api_keys_file: Path | None = None
    """File of the accepted API keys, one per line, as `flant5 keys` writes them. Unset: no keys are
    required."""
    max_file_bytes: int = Field(512 * 2**20, ge=1)
    """Maximum size of a directly uploaded file, in bytes."""
    max_upload_bytes: int = Field(8 * 2**30, ge=1)
    """Maximum size of a file uploaded in parts, in bytes."""
    max_stored_bytes_per_key: int = Field(0, ge=0)
    """Maximum total size of the uploaded files per API key, in bytes. 0 disables the limit."""
    upload_seconds: int = Field(24 * 3600, ge=60)
    """Time to complete an upload in parts, in seconds. After that its parts are removed."""
    max_body_bytes: int = Field(2**20, ge=1024)
    """Maximum body size of all other requests, in bytes."""
    max_submits_per_minute: int = Field(0, ge=0)
    """Job submissions per minute and API key, or per address on a server without keys. 0 disables
    the limit."""
    max_uploads_per_minute: int = Field(0, ge=0)
    """Requests per minute and API key that upload files or parts. 0 disables the limit."""
    max_requests_per_minute: int = Field(0, ge=0)
    """Requests per minute and API key, other than submissions and uploads. 0 disables the limit."""
    max_stream_clients: int = Field(1000, ge=1)
    """Maximum number of concurrent live streams. Further clients get a 503."""
    max_waiting_chats: int = Field(32, ge=1)
    """Maximum number of chat requests that wait for a serving process. Further requests get a
    429."""
    chat_timeout_seconds: float = Field(600.0, gt=0)
    """Timeout of a chat request in seconds, including the time in the queue."""
    sse_keepalive_seconds: float = Field(15.0, gt=0)
    """Idle time of a live stream, in seconds, after which a comment is sent. Without it, proxies
    close the connection."""
    client_timeout_seconds: float = Field(30.0, gt=0)
    """Client timeout in seconds. Applies to receiving headers, to receiving the body (plus 1 s per
    4 KiB), and to sending the response. The connection is closed when it expires."""
    stop_grace_seconds: int = Field(5, ge=0)
    """Time for requests in progress to finish at shutdown, in seconds."""

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
                f"FLANT5_HOST is {self.host!r}, which other machines can reach, but no API keys "
                "are configured; create a key with `flant5 keys create NAME` and set "
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
    """Returns the environment for child processes: no passwords and no keys."""
    return {name: value for name, value in os.environ.items() if _INHERITED.fullmatch(name)}
