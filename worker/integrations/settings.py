"""The environment variables of the process that tells trackers and hubs of jobs."""

from pathlib import Path

from pydantic import Field

from worker.jobs.settings import SharedSettings


class IntegrationSettings(SharedSettings):
    """Built once in `python -m worker.integrations`."""

    integrations_file: Path
    """The accounts with trackers and hubs (TOML: docs/integrations.md)."""
    integration_max_runs: int = Field(16, ge=1)
    """Runs that are shipped at the same time, a process each; further ones wait."""
    integration_timeout_seconds: float = Field(300.0, gt=0)
    """Time in which a process that ships a run has to give a sign of life; then it is killed and
    begins again."""
    integration_retry_seconds: float = Field(5.0, gt=0)
    """Pause after a first failure; four times as long after each further one, up to an hour."""
    integration_give_up_hours: float = Field(24.0, gt=0)
    """Time since the first of the failures in a row after which there are no more tries."""
