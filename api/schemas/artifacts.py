"""Files of a job's output, as callers see them."""

from typing import Literal

from api.schemas.pages import Identified


class Artifact(Identified):
    """A file that can be downloaded from `.../artifacts/{id}`; its id is its path, relative to the
    output directory."""

    object: Literal["fine_tuning.job.artifact"] = "fine_tuning.job.artifact"
    bytes: int
    """Its size."""
