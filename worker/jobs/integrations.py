"""Where a job asks to be shown besides here: trackers of runs, and a hub for its model.

    {"type": "wandb", "wandb": {"project": "chats", "tags": ["first"]}}

The shape of `wandb` is the one of the `openai` SDK; the other two follow it.
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
    """The project it is in; made if there is none."""
    name: Name | None = None
    """What the run is called; the id of the job unless given."""
    entity: Name | None = None
    """The team or user of the project; that of the operator's account unless given."""
    tags: tuple[Tag, ...] | None = Field(None, max_length=32)
    """Beside those that each run of this service has."""


class MlflowRun(_Part):
    """A run in MLflow."""

    experiment: Name
    """The experiment it is in; made if there is none."""
    name: Name | None = None
    """What the run is called; the id of the job unless given."""
    tags: dict[TagKey, TagValue] | None = Field(None, max_length=32)
    """Beside those that each run of this service has."""


class HubRepository(_Part):
    """A repository on a Hugging Face Hub."""

    repository: str = Field(max_length=200, pattern=r"^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$")
    """`organization/name`; made if there is none."""
    private: bool = True
    """Whether the model is private: a repository is made so, and a public one that is there
    already is refused."""
    revision: Branch = "main"
    """The branch it is pushed to; made from `main` if there is none."""

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
                    "'.', without '--', '..', one of '-' and '.' at an end, or '.git' there"
                )
        return repository


class WandbIntegration(_Part):
    """Curves and hyperparameters in Weights & Biases, as the job runs."""

    type: Literal["wandb"]
    wandb: WandbRun
    """Where."""


class MlflowIntegration(_Part):
    """Curves and hyperparameters in MLflow, as the job runs."""

    type: Literal["mlflow"]
    mlflow: MlflowRun
    """Where."""


class HubIntegration(_Part):
    """The final model on a Hugging Face Hub, once the job has succeeded."""

    type: Literal["huggingface"]
    huggingface: HubRepository
    """Where."""


IntegrationType = Literal["wandb", "mlflow", "huggingface"]
Integration = Annotated[
    WandbIntegration | MlflowIntegration | HubIntegration, Field(discriminator="type")
]


def refuse_repeated(integrations: Sequence[Integration]) -> None:
    """Raises ValueError when two have one type: what belongs to a job is told by its type."""
    types = [each.type for each in integrations]
    for number, kind in enumerate(types):
        if kind in types[:number]:
            raise ValueError(f"found {kind!r} twice; expected at most one integration of a type")
