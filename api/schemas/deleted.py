"""Schemas of deletions."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Deleted(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    """The id of the deleted object."""
    deleted: Literal[True] = True
    freed_bytes: int
    """Total size of the removed files, in bytes."""


class JobDeleted(_Deleted):
    """The job was deleted, with its model, its checkpoints and its history."""

    object: Literal["fine_tuning.job"] = "fine_tuning.job"


class CheckpointDeleted(_Deleted):
    """The checkpoint was deleted. `id` is its former model id."""

    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    step_number: int
    """The step at which it was saved."""


class ModelDeleted(_Deleted):
    """The fine-tuned model was deleted. Its job stays."""

    object: Literal["model"] = "model"


class FileDeleted(_Deleted):
    """The file was deleted."""

    object: Literal["file"] = "file"
