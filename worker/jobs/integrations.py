"""Models of a job's integrations: experiment trackers, and a hub for its model.

    {"type": "wandb", "wandb": {"project": "chats", "tags": ["first"]}}

`wandb` has the shape of the `openai` SDK; the other two are modelled after it.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Name = Annotated[str, Field(min_length=1, max_length=128)]
Tag = Annotated[str, Field(min_length=1, max_length=64)]
TagKey = Annotated[str, Field(min_length=1, max_length=250, pattern=r"^[\w.\-/ ]+$")]
Branch = Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
TagValue = Annotated[str, Field(max_length=5000)]

_MAX_HUB_NAME = 96


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class WandbRun(_Part):
    """A run in Weights & Biases."""

    project: Name
    """The run's project; created if missing."""
    name: Name | None = None
    """Name of the run. Default: the job's id."""
    entity: Name | None = None
    """The team or user that owns the project. Default: that of the operator's account."""
    tags: tuple[Tag, ...] | None = Field(None, max_length=32)
    """Tags in addition to the service's own."""


class MlflowRun(_Part):
    """A run in MLflow."""

    experiment: Name
    """The run's experiment; created if missing."""
    name: Name | None = None
    """Name of the run. Default: the job's id."""
    tags: dict[TagKey, TagValue] | None = Field(None, max_length=32)
    """Tags in addition to the service's own."""


class HubRepository(_Part):
    """A repository on a Hugging Face Hub."""

    repository: str = Field(max_length=200, pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$")
    """`organization/name`; created if missing."""
    private: bool = True
    """Creates a private repository, and refuses an existing public one."""
    revision: Branch = "main"
    """The branch to push to; created from `main` if missing."""

    @property
    def namespace(self) -> str:
        return self.repository.split("/")[0]

    @field_validator("repository")
    @classmethod
    def _name_of_the_hub(cls, repository: str) -> str:
        for part in repository.split("/"):
            is_edged = part[0] in "-." or part[-1] in "-." or part.endswith(".git")
            if is_edged or "--" in part or ".." in part or len(part) > _MAX_HUB_NAME:
                raise ValueError(
                    f"found {part!r}; expected up to {_MAX_HUB_NAME} letters, digits, '_', '-' and "
                    "'.', without '--' or '..', without '-' or '.' at either end, not ending in "
                    "'.git'"
                )
        return repository


class WandbIntegration(_Part):
    """Logs curves and hyperparameters to Weights & Biases while the job runs."""

    type: Literal["wandb"]
    wandb: WandbRun
    """The run to create."""


class MlflowIntegration(_Part):
    """Logs curves and hyperparameters to MLflow while the job runs."""

    type: Literal["mlflow"]
    mlflow: MlflowRun
    """The run to create."""


class HubIntegration(_Part):
    """Uploads the final model to a Hugging Face Hub once the job has succeeded."""

    type: Literal["huggingface"]
    huggingface: HubRepository
    """The target repository."""


IntegrationType = Literal["wandb", "mlflow", "huggingface"]
Integration = Annotated[
    WandbIntegration | MlflowIntegration | HubIntegration, Field(discriminator="type")
]


def refuse_repeated(integrations: Sequence[Integration]) -> None:
    """Raises ValueError for two integrations of the same type: a job's exports are stored by
    type."""
    types = [each.type for each in integrations]
    for number, kind in enumerate(types):
        if kind in types[:number]:
            raise ValueError(f"found {kind!r} twice; expected at most one integration of a type")
