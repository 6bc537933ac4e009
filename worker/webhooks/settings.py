"""The environment variables of the process that sends webhooks."""

from pathlib import Path

from pydantic import Field

from worker.jobs.settings import SharedSettings


class WebhookSettings(SharedSettings):
    """Built once in `python -m worker.webhooks`."""

    webhooks_file: Path
    """TOML file with the endpoints to call when a job ends (docs/webhooks.md)."""
    webhook_timeout_seconds: float = Field(15.0, gt=0)
    """Timeout of one webhook request, in seconds."""
    webhook_retry_seconds: float = Field(5.0, gt=0)
    """Seconds of delay before the first retry. Quadruples before each further one, up to six
    hours."""
    webhook_give_up_hours: float = Field(72.0, gt=0)
    """Hours after the end of the job beyond which a failed delivery is not retried."""

    @property
    def lease_seconds(self) -> float:
        """Seconds after which an unsettled delivery is started again.

        Longer than the request timeout, with time to record the outcome in Redis.
        """
        return 2 * self.webhook_timeout_seconds + 1

    @property
    def give_up_seconds(self) -> float:
        return self.webhook_give_up_hours * 3600
