"""Jobs, as callers submit them."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.schemas.numbers import without_booleans_for_numbers
from flant5_train.config import Hyperparameters
from worker.jobs.integrations import Integration


class RequestedHyperparameters(Hyperparameters):
    """Ours, by the Trainer's names, and the three of the SDK; "auto" means the default."""

    n_epochs: float | None = Field(None, gt=0, le=1000)
    """Another name of `num_train_epochs`."""
    batch_size: int | None = Field(None, ge=1, le=2**22)
    """Pairs per optimizer step, over all processes: `per_device_train_batch_size` x
    `gradient_accumulation_steps` x `num_gpus` x `num_nodes`; the first two are chosen to give
    it."""
    learning_rate_multiplier: float | None = Field(None, gt=0, le=1e6)
    """`learning_rate` as a factor on 1e-4."""

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
    """What differs from the defaults."""


class Method(BaseModel):
    """How to fine-tune."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    type: Literal["supervised"]
    """This service has no other method."""
    supervised: Supervised | None = None
    """Its settings."""


class CreateJob(BaseModel):
    """A job to submit. What is left out or null takes its default."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: str
    """Base model: `flant5-demo`, a directory name under `HOME/models`, a hub name such as
    `google/flan-t5-base`, or the id of a fine-tuned model or checkpoint of this service."""
    training_file: str
    """A file id, or a path relative to `DATA_ROOT`."""
    validation_file: str | None = None
    """Conversations to evaluate on: a file id, or a path relative to `DATA_ROOT`."""
    method: Method | None = None
    """How to fine-tune, with the hyperparameters."""
    hyperparameters: RequestedHyperparameters | None = None
    """Deprecated by the SDK: use `method.supervised.hyperparameters`."""
    suffix: str | None = None
    """Part of the fine-tuned model's id: 1 to 64 letters, digits, `_`, `.` or `-`."""
    seed: int | None = None
    """Seed of the data order, the dropout and the validation split; 42 unless given."""
    priority: int | None = None
    """-100 to 100, 0 unless given: jobs with a higher one run first, those of one priority in the
    order of their creation."""
    max_run_seconds: int | None = None
    """Time on a worker, over all attempts, after which the job is stopped with a checkpoint and
    has failed with the code `timeout`; no limit unless given."""
    metadata: dict[str, str] | None = None
    """Up to 16 pairs of the caller's own; keys to 64 characters, values to 512."""
    integrations: list[Integration] | None = Field(
        None, examples=[[{"type": "wandb", "wandb": {"project": "chats", "tags": ["first"]}}]]
    )
    """Where the run or its model is shown besides here, at most one of a type; those that the
    operator has set up (docs/integrations.md)."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_booleans(cls, data: Any) -> Any:
        return without_booleans_for_numbers(cls, data)
