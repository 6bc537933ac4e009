"""What was deleted, as callers see it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Deleted(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    """The id that is known no more."""
    deleted: Literal[True] = True
    freed_bytes: int
    """Bytes of the files that were removed."""


class JobDeleted(_Deleted):
    """A job is gone, with its model, its checkpoints and its history."""

    object: Literal["fine_tuning.job"] = "fine_tuning.job"


class CheckpointDeleted(_Deleted):
    """A checkpoint is gone; `id` is the one that it had as a model."""

    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    step_number: int
    """The step that it was saved at."""


class ModelDeleted(_Deleted):
    """A fine-tuned model is gone; the job that made it stays."""

    object: Literal["model"] = "model"


class FileDeleted(_Deleted):
    """A file is gone."""

    object: Literal["file"] = "file"
