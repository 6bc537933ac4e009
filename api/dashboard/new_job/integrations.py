"""Form fields for integrations: the required setting of each."""

from collections.abc import Mapping
from dataclasses import dataclass

from api.dashboard.new_job.fields import FormField, NumberRange, Value
from worker.jobs.integrations import Integration, IntegrationType


@dataclass(frozen=True, slots=True)
class _IntegrationField:
    setting: str
    help: str


_PLACES: Mapping[IntegrationType, _IntegrationField] = {
    "wandb": _IntegrationField("project", "Logs the run to this Weights & Biases project."),
    "mlflow": _IntegrationField("experiment", "Logs the run to this MLflow experiment."),
    "huggingface": _IntegrationField(
        "repository",
        "Uploads the finished model to this hub repository (organization/name)."
        " A missing repository is created as private.",
    ),
}


def _field(kind: IntegrationType, place: _IntegrationField) -> FormField:
    return FormField(
        name=f"{kind}_{place.setting}",
        kind="text",
        default=None,
        is_optional=True,
        choices=(),
        range=NumberRange(),
        help=place.help,
    )


INTEGRATION_FIELDS: Mapping[IntegrationType, FormField] = {
    kind: _field(kind, place) for kind, place in _PLACES.items()
}
"""Fields by integration type."""


def integrations_of(values: Mapping[str, Value]) -> list[dict[str, object]]:
    """Returns the `integrations` of a create request for the filled-in fields."""
    return [
        {"type": kind, kind: {place.setting: value}}
        for kind, place in _PLACES.items()
        if (value := values.get(INTEGRATION_FIELDS[kind].name))
    ]


def described(integration: Integration) -> dict[str, str]:
    """Returns the settings of an integration, named for the configuration card.

    >>> from worker.jobs.integrations import WandbIntegration
    >>> each = WandbIntegration(type="wandb", wandb={"project": "chats", "tags": ["a", "b"]})
    >>> described(each)
    {'wandb · project': 'chats', 'wandb · tags': 'a, b'}
    """
    settings = integration.model_dump(mode="json", exclude_none=True)[integration.type]
    return {f"{integration.type} · {name}": _text(value) for name, value in settings.items()}


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={each}" for name, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
