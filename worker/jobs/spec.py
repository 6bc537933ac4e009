"""The job spec: a caller's request, validated as a whole before it is stored."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from flant5_train.config import Hyperparameters, Seed
from worker.jobs.integrations import Integration, refuse_repeated

MetadataKey = Annotated[str, Field(min_length=1, max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]


def _no_type_twice(integrations: tuple[Integration, ...]) -> tuple[Integration, ...]:
    refuse_repeated(integrations)
    return integrations


class JobSpec(BaseModel):
    """One fine-tuning job, as submitted; every default is filled in."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: str = Field(min_length=1, max_length=256)
    """Base model: `flant5-demo`, a directory name under `HOME/models`, a hub name such as
    `google/flan-t5-base`, or the id of a fine-tuned model or checkpoint of this service."""
    training_file: str = Field(min_length=1, max_length=1024)
    """A file id, or a path relative to `DATA_ROOT`."""
    validation_file: str | None = Field(None, min_length=1, max_length=1024)
    """Conversations to evaluate on: a file id, or a path relative to `DATA_ROOT`."""
    suffix: str | None = Field(None, min_length=1, max_length=64, pattern=r"^[\w.-]+$")
    """Part of the fine-tuned model's id."""
    seed: Seed = 42
    """Seed of the data order, the dropout and the validation split."""
    priority: int = Field(0, ge=-100, le=100)
    """Scheduling priority. Higher values run first; ties run in creation order."""
    max_run_seconds: int | None = Field(None, ge=1, le=10**8)
    """Maximum time on a worker over all attempts, in seconds. When it is exceeded, the job saves a
    checkpoint and fails; resuming it grants the same time again. Null disables the limit."""
    metadata: dict[MetadataKey, MetadataValue] = Field(default_factory=dict, max_length=16)
    """Up to 16 key-value pairs of the caller."""
    integrations: Annotated[tuple[Integration, ...], AfterValidator(_no_type_twice)] = ()
    """Trackers and hubs to which the run or its model is exported; at most one of each type."""
    hyperparameters: Hyperparameters = Hyperparameters()
