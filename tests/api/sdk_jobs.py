"""Jobs by the unmodified SDK."""

from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob


def create(sdk: OpenAI, *, seed: int = 1) -> str:
    return sdk.fine_tuning.jobs.create(
        model="flant5-demo", training_file="chats.json", seed=seed
    ).id


def status_of(job: FineTuningJob) -> str:
    """The SDK's own list of statuses lacks `paused`; it hands on what comes."""
    return str(job.status)
