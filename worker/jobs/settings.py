"""The environment variables that every process of the service shares."""

from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from worker.jobs.home import Home


class SharedSettings(BaseSettings):
    """Read once, where a process is put together; handed down from there."""

    model_config = SettingsConfigDict(
        env_prefix="FLANT5_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    home: Path = Path(".flant5")
    """Directory of everything the service keeps: files, jobs, models, cache."""
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    """The Redis or Valkey server that holds jobs and the queue."""
    data_root: Path | None = None
    """Directory of host data sets that a job may name by relative path; unset means none."""
    hub_models: str = "google/flan-t5-*,lmsys/fastchat-t5-*"
    """Hub names a job may start from: comma-separated patterns."""

    @property
    def home_directories(self) -> Home:
        return Home(self.home.resolve())
