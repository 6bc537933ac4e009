"""Schema of a file in a job's output."""

from typing import Literal

from api.schemas.pages import Identified


class Artifact(Identified):
    """A file that can be downloaded from `.../artifacts/{id}`. Its id is its path, relative to the
    output directory."""

    object: Literal["fine_tuning.job.artifact"] = "fine_tuning.job.artifact"
    bytes: int
    """Size in bytes."""
