"""The environment variables of the process that exports jobs to trackers and hubs."""

import os
from pathlib import Path

from pydantic import Field

from worker.jobs.settings import SharedSettings


class IntegrationSettings(SharedSettings):
    """Built once in `python -m worker.integrations`."""

    integrations_file: Path
    """TOML file with the accounts with trackers and hubs (docs/integrations.md)."""
    integration_max_runs: int = Field(16, ge=1)
    """Maximum number of concurrent exports, one process each. Further ones wait."""
    integration_timeout_seconds: float = Field(300.0, gt=0)
    """Seconds without a heartbeat after which an export process is killed and the export is
    retried."""
    integration_retry_seconds: float = Field(5.0, gt=0)
    """Seconds of delay after a first failure. Quadruples with each further one, up to an hour."""
    integration_give_up_hours: float = Field(24.0, gt=0)
    """Hours after the first of consecutive failures beyond which an export is not retried."""


def settle_hub_library(directory: Path, *, has_xet: bool) -> None:
    """Prepares this process's environment for importing `huggingface_hub`.

    The library keeps its files in `directory` and is online, even if base models load offline.
    """
    os.environ |= {
        "HF_HOME": str(directory),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "0" if has_xet else "1",
        "HF_HUB_OFFLINE": "0",
    }
