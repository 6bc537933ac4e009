"""The environment variables that every process of the service shares."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from worker.jobs.home import Home
from worker.jobs.rules import Rules


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
    max_queued_per_key: int = Field(0, ge=0)
    """Jobs of one API key that may wait at the same time; 0 means any number."""
    max_running_per_key: int = Field(0, ge=0)
    """Jobs of one API key that may run at the same time; 0 means any number."""
    hub_models: str = "google/flan-t5-*,lmsys/fastchat-t5-*"
    """Hub names a job may start from: comma-separated patterns."""

    @property
    def rules(self) -> Rules:
        """What the life of a job depends on, as far as every process knows it."""
        return Rules(max_waiting=self.max_queued_per_key, max_running=self.max_running_per_key)

    @property
    def home_directories(self) -> Home:
        return Home(self.home.resolve())
