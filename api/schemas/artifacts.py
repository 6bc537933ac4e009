"""Files of a job's output, as callers see them."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Artifact(BaseModel):
    """A file that can be downloaded."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str
    """Its path, relative to the output directory: the end of `.../artifacts/{path}`."""
    object: Literal["fine_tuning.job.artifact"] = "fine_tuning.job.artifact"
    bytes: int
