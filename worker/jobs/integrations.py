"""Where a job asks to be shown besides here: trackers of runs, and a hub for its model.

    {"type": "wandb", "wandb": {"project": "chats", "tags": ["first"]}}

The shape of `wandb` is the one of the `openai` SDK; the other two follow it.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(min_length=1, max_length=128)]
Tag = Annotated[str, Field(min_length=1, max_length=64)]
TagKey = Annotated[str, Field(min_length=1, max_length=250, pattern=r"^[\w.\-/ ]+$")]
TagValue = Annotated[str, Field(max_length=5000)]


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

    repository: str = Field(max_length=200, pattern=r"^[\w.-]+/[\w.-]+$")
    """`organization/name`; made if there is none."""
    private: bool = True
    """Whether a repository that is made is private."""


class WandbIntegration(_Part):
    """Curves and hyperparameters in Weights & Biases, as the job runs."""

    type: Literal["wandb"]
    wandb: WandbRun
    """The run to make."""


class MlflowIntegration(_Part):
    """Curves and hyperparameters in MLflow, as the job runs."""

    type: Literal["mlflow"]
    mlflow: MlflowRun
    """The run to make."""


class HubIntegration(_Part):
    """The final model on a Hugging Face Hub, once the job has succeeded."""

    type: Literal["huggingface"]
    huggingface: HubRepository
    """Where it is uploaded to."""


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
