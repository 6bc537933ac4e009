"""Schema of a job submission."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.schemas.numbers import without_booleans_for_numbers
from flant5_train.config import Hyperparameters
from worker.jobs.integrations import Integration


class RequestedHyperparameters(Hyperparameters):
    """Hyperparameters by the Trainer's names, plus the three of the SDK. "auto" means the
    default."""

    n_epochs: float | None = Field(None, gt=0, le=1000)
    """Alias of `num_train_epochs`."""
    batch_size: int | None = Field(None, ge=1, le=2**22)
    """Pairs per optimizer step, over all processes: `per_device_train_batch_size` x
    `gradient_accumulation_steps` x `num_gpus` x `num_nodes`. The first two are chosen
    accordingly."""
    learning_rate_multiplier: float | None = Field(None, gt=0, le=1e6)
    """`learning_rate` as a multiple of 1e-4."""

    @model_validator(mode="before")
    @classmethod
    def _leave_out_auto(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        given = {name: value for name, value in data.items() if value != "auto"}
        return without_booleans_for_numbers(cls, given)


class Supervised(BaseModel):
    """Settings of supervised fine-tuning."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    hyperparameters: RequestedHyperparameters | None = None
    """Hyperparameters that differ from the defaults."""


class Method(BaseModel):
    """Fine-tuning method."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    type: Literal["supervised"]
    """The only supported method."""
    supervised: Supervised | None = None
    """Settings of the method."""


class CreateJob(BaseModel):
    """A job to submit. Omitted and null fields take their defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: str
    """Base model: `flant5-demo`, a directory name under `HOME/models`, a hub name such as
    `google/flan-t5-base`, or the id of a fine-tuned model or checkpoint of this service."""
    training_file: str
    """A file id, or a path relative to `DATA_ROOT`."""
    validation_file: str | None = None
    """Conversations to evaluate on: a file id, or a path relative to `DATA_ROOT`."""
    method: Method | None = None
    """Fine-tuning method, with the hyperparameters."""
    hyperparameters: RequestedHyperparameters | None = None
    """Deprecated by the SDK: use `method.supervised.hyperparameters`."""
    suffix: str | None = None
    """Part of the fine-tuned model's id: 1 to 64 letters, digits, `_`, `.` or `-`."""
    seed: int | None = None
    """Seed of the data order, the dropout and the validation split. Default: 42."""
    priority: int | None = None
    """Scheduling priority, -100 to 100. Higher values run first; ties run in creation order.
    Default: 0."""
    max_run_seconds: int | None = None
    """Maximum time on a worker, in seconds, over all attempts. When it expires, the job saves a
    checkpoint and fails with the code `timeout`. Default: no limit."""
    metadata: dict[str, str] | None = None
    """Up to 16 key-value pairs of the caller. Keys have up to 64 characters, values up to 512."""
    integrations: list[Integration] | None = Field(
        None, examples=[[{"type": "wandb", "wandb": {"project": "chats", "tags": ["first"]}}]]
    )
    """Trackers and hubs to which the run or its model is also sent, at most one per type. The
    operator must have configured them (docs/integrations.md)."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_booleans(cls, data: Any) -> Any:
        return without_booleans_for_numbers(cls, data)
