"""Settings shared by all processes of the service, from environment variables."""

import os
import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from worker.jobs.logging import LogFormat
from worker.jobs.redis_address import RedisAddress
from worker.jobs.rules import QueuePolicy
from worker.jobs.storage.paths import Home

FROM_ENVIRONMENT = SettingsConfigDict(
    env_prefix="FLANT5_",
    # `.env.example` lists unset variables with an empty value.
    env_ignore_empty=True,
    frozen=True,
    extra="ignore",
    use_attribute_docstrings=True,
)
"""Configuration of all settings classes of the service."""

_PROXY_NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_NETWORK_NAMES = ("sslkeylogfile", "ssl_cert_file", "ssl_cert_dir", *_PROXY_NAMES)


def network_environment() -> dict[str, str]:
    """Returns the environment variables that HTTP clients read, under the names that are set. A
    lower-case name, even an empty one, overrides its upper-case one."""
    found = {}
    for lower in _NETWORK_NAMES:
        name = lower if lower in _PROXY_NAMES and lower in os.environ else lower.upper()
        if value := os.environ.get(name):
            found[name] = value
    return found


_SECRET = re.compile("URL|KEY|TOKEN|PASSWORD|SECRET")
_MAX_SHOWN = 80


def settings_fault(error: ValidationError) -> str:
    """Returns the problems of the settings in one line.

    Pydantic's own text shows the whole input, including passwords in URLs. This one shows no value
    that may contain a secret.
    """
    return "; ".join(
        _fault(fault["loc"], fault["msg"], value=fault["input"])
        for fault in error.errors(include_url=False)
    )


def _fault(place: tuple[int | str, ...], message: str, *, value: object) -> str:
    plain = message.removeprefix("Value error, ")
    if not place:
        return plain
    variable = ".".join(f"FLANT5_{part}".upper() for part in place)
    is_shown = isinstance(value, str | int | float) and not _SECRET.search(variable)
    return f"{variable}: {plain}" + (f" (found {str(value)[:_MAX_SHOWN]!r})" if is_shown else "")


def _without_tilde(home: Path) -> Path:
    """Expands `~`, which a shell does but a settings file does not. Raises ValueError."""
    try:
        home = home.expanduser()
        home.resolve()
    except (RuntimeError, OSError) as error:  # no such user; a loop of links
        raise ValueError(f"{home} is not a directory: {error}; set FLANT5_HOME to one") from error
    return home


HomePath = Annotated[Path, AfterValidator(_without_tilde)]
"""FLANT5_HOME; relative to the directory in which a process starts."""


class SharedSettings(BaseSettings):
    """Read once at the start of a process, and passed down from there."""

    model_config = FROM_ENVIRONMENT

    home: HomePath = Path(".flant5")
    """Directory of all data of the service: files, jobs, models, cache."""
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    """The Redis or Valkey server that holds jobs and the queue."""
    redis_password_file: Path | None = None
    """File with the password of that server, to keep it out of the environment; it is inserted into
    `redis_url`."""
    allow_lossy_redis: bool = False
    """Allows a server that evicts jobs (a maxmemory, and a maxmemory-policy other than noeviction
    and volatile-*) or keeps no append-only file. Both lose acknowledged jobs. The controller then
    restores missing jobs from the disk, and reports them. False refuses such a server."""
    data_root: Path | None = None
    """Directory of host data sets that jobs may reference by relative path. Unset: none."""
    models_root: Path | None = None
    """Directory of base models, a folder each, read only. Jobs may name them like those in
    HOME/models. Unset: none."""
    max_queued_per_key: int = Field(0, ge=0)
    """Maximum number of pending (queued or paused) jobs per API key. 0 disables the limit. Further
    submissions get a 429."""
    max_running_per_key: int = Field(0, ge=0)
    """Maximum number of running jobs per API key. 0 disables the limit. Further jobs wait."""
    log_format: LogFormat = "text"
    """Format of the logs: `text` for people, or `json` for programs, one object per line with the
    ids of the request and the job."""
    hub_models: str = "google/flan-t5-*"
    """Allowed hub names of base models, as comma-separated patterns. Weights must be in
    safetensors."""

    @model_validator(mode="before")
    @classmethod
    def _password_into_url(cls, values: dict[str, Any]) -> dict[str, Any]:
        file = values.get("redis_password_file")
        if file is None:
            return values
        url = values.get("redis_url", cls.model_fields["redis_url"].default)
        text = url.get_secret_value() if isinstance(url, SecretStr) else str(url)
        return values | {"redis_url": SecretStr(_with_password(text, Path(file)))}

    @field_validator("redis_url")
    @classmethod
    def _readable(cls, url: SecretStr) -> SecretStr:
        RedisAddress.parse(url.get_secret_value())
        return url

    @property
    def queue_policy(self) -> QueuePolicy:
        """The rules of scheduling, as far as they follow from the shared settings."""
        return QueuePolicy(
            max_waiting=self.max_queued_per_key, max_running=self.max_running_per_key
        )

    @property
    def home_directories(self) -> Home:
        return Home(self.home.resolve())


def _with_password(url: str, file: Path) -> str:
    """Inserts the password in the file into the URL. Raises ValueError without the password."""
    try:
        password = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"FLANT5_REDIS_PASSWORD_FILE {file} can't be read: {error}") from error
    if not password or "\n" in password:
        raise ValueError(
            f"FLANT5_REDIS_PASSWORD_FILE {file} is empty or has more than one line; expected only "
            "the password"
        )
    if RedisAddress.parse(url).password is not None:
        raise ValueError(
            "both FLANT5_REDIS_URL and FLANT5_REDIS_PASSWORD_FILE have a password; expected one"
        )
    parts = urlsplit(url)
    user, _, server = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{server}").geturl()


def temporary_directory() -> str | None:
    """Returns TMPDIR; None if it is unset or empty."""
    return os.environ.get("TMPDIR") or None
