"""Environment variables of the command line."""

import os
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from worker.jobs.settings import FROM_ENVIRONMENT, HomePath

DEFAULT_URL = "http://127.0.0.1:8000/v1"


class ClientSettings(BaseSettings):
    """Settings of the client commands."""

    model_config = FROM_ENVIRONMENT

    url: str = DEFAULT_URL
    """Address of the API, with or without its `/v1`."""
    api_key: SecretStr | None = None
    """API key to send."""

    @property
    def api_url(self) -> str:
        """The address with `/v1` and without a trailing slash.

        >>> ClientSettings(url="http://gpu:8000/").api_url
        'http://gpu:8000/v1'
        """
        url = self.url.rstrip("/")
        return url if url.endswith("/v1") else f"{url}/v1"


class UpSettings(BaseSettings):
    """Settings of `flant5 up`. Command-line options take precedence over the environment."""

    model_config = FROM_ENVIRONMENT

    home: HomePath = Path(".flant5")
    """Data directory of the service."""
    host: str = "127.0.0.1"
    """Address to listen on. Addresses other than loopback require API keys."""
    port: int = Field(8000, ge=0, le=65535)
    """Port to listen on; 0 selects a free port."""
    redis_url: SecretStr | None = None
    """Redis or Valkey server to use. If unset, `flant5 up` starts one."""
    trainer_grace_seconds: float = Field(60.0, ge=0)
    """Seconds a trainer has to save a checkpoint when the service stops."""
    webhooks_file: Path | None = None
    """File with the webhook endpoints. Unset disables webhooks."""
    integrations_file: Path | None = None
    """File with the accounts of experiment trackers. Unset disables integrations."""
    node_address: str | None = None
    """Address at which other workers reach this host; read by the doctor."""


class KeysSettings(BaseSettings):
    """Settings of `flant5 keys`."""

    model_config = FROM_ENVIRONMENT

    api_keys_file: Path | None = None
    """File with the API keys, one `name:sha256` per line."""


def inherited_environment() -> dict[str, str]:
    """Returns the environment of this process, which the processes of `flant5 up` inherit."""
    return dict(os.environ)
