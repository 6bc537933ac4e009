"""The environment variables of the command line."""

import os
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from worker.jobs.settings import FROM_ENVIRONMENT, HomePath

DEFAULT_URL = "http://127.0.0.1:8000/v1"


class ClientSettings(BaseSettings):
    """What the client commands need; built by each of them."""

    model_config = FROM_ENVIRONMENT

    url: str = DEFAULT_URL
    """Address of the API, with or without its `/v1`."""
    api_key: SecretStr | None = None
    """The key to show it."""

    @property
    def api_url(self) -> str:
        """The address with its `/v1`, and without a slash at the end.

        >>> ClientSettings(url="http://gpu:8000/").api_url
        'http://gpu:8000/v1'
        """
        url = self.url.rstrip("/")
        return url if url.endswith("/v1") else f"{url}/v1"


class UpSettings(BaseSettings):
    """What `flant5 up` needs; its options come before the environment."""

    model_config = FROM_ENVIRONMENT

    home: HomePath = Path(".flant5")
    """Directory of everything the service keeps."""
    host: str = "127.0.0.1"
    """Address to listen on; one beyond this machine needs API keys."""
    port: int = Field(8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    redis_url: SecretStr | None = None
    """A Redis or Valkey server to use; unset means that one is started."""
    trainer_grace_seconds: float = Field(60.0, ge=0)
    """Time a trainer gets to save a checkpoint when the service stops."""
    webhooks_file: Path | None = None
    """The endpoints that are told when a job ends; unset means none."""
    integrations_file: Path | None = None
    """The accounts with trackers of runs; unset means none."""
    node_address: str | None = None
    """Address at which other workers reach this host; read by the doctor."""


class KeysSettings(BaseSettings):
    """Where `flant5 keys` finds the keys file."""

    model_config = FROM_ENVIRONMENT

    api_keys_file: Path | None = None
    """Keys that callers of the API must show, one `name:sha256` a line."""


def inherited_environment() -> dict[str, str]:
    """The environment of this process, which the processes of `flant5 up` get too."""
    return dict(os.environ)
