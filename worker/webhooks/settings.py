"""The environment variables of the process that sends webhooks."""

from pathlib import Path

from pydantic import Field

from worker.jobs.settings import SharedSettings


class WebhookSettings(SharedSettings):
    """Built once in `python -m worker.webhooks`."""

    webhooks_file: Path
    """The endpoints that are told when a job ends (TOML: docs/webhooks.md)."""
    webhook_timeout_seconds: float = Field(15.0, gt=0)
    """Time in which an endpoint has to answer."""
    webhook_retry_seconds: float = Field(5.0, gt=0)
    """Pause before the second delivery; four times as long before each further one, up to six
    hours."""
    webhook_give_up_hours: float = Field(72.0, gt=0)
    """Time since the end of the job after which a delivery that fails is not tried again."""

    @property
    def lease_seconds(self) -> float:
        """Time after which a delivery that was begun and not settled is begun again. Longer than
        an answer may take, with room to say in Redis what came of it."""
        return 2 * self.webhook_timeout_seconds + 1

    @property
    def give_up_seconds(self) -> float:
        return self.webhook_give_up_hours * 3600
