"""The environment variables of the process that tells trackers and hubs of jobs."""

import os
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


def settle_hub_library(directory: Path, *, has_xet: bool) -> None:
    """This process's environment as `huggingface_hub` is to find it when it is imported: with what
    it keeps in `directory`, and online, whatever is set for base models."""
    os.environ |= {
        "HF_HOME": str(directory),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "0" if has_xet else "1",
        "HF_HUB_OFFLINE": "0",
    }
