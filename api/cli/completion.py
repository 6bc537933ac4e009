"""What a shell offers to complete: ids that the server knows, names of hyperparameters.

A shell that waits or prints an error in the middle of a line is worse than one that offers nothing:
the server gets a moment, and one that does not answer is passed over in silence.
"""

from collections.abc import Iterator

import httpx

from api.cli.client import Client, Json
from api.cli.errors import CommandError
from api.cli.printing import plain, state_of
from api.cli.settings import ClientSettings
from flant5_train.config import Hyperparameters

_TIMEOUT = httpx.Timeout(1.0)
_MAX_OFFERED = 100

Offer = tuple[str, str]
"""A word, and what some shells show beside it."""


def job_ids(incomplete: str) -> list[Offer]:
    """Jobs, the newest first."""
    found = _listed("/fine_tuning/jobs", limit=_MAX_OFFERED)
    return _beginning(
        incomplete, ((job["id"], f"{job['model']}, {state_of(job)}") for job in found)
    )


def file_ids(incomplete: str) -> list[Offer]:
    """Uploaded conversations, the newest first; none for what can only be a local file."""
    if incomplete and not incomplete.startswith("file"):
        return []
    found = _listed("/files", limit=_MAX_OFFERED, purpose="fine-tune")
    return _beginning(incomplete, ((file["id"], file["filename"]) for file in found))


def model_ids(incomplete: str) -> list[Offer]:
    """Models on the server."""
    return _beginning(incomplete, ((model["id"], "") for model in _listed("/models")))


def deletable_ids(incomplete: str) -> list[Offer]:
    """Jobs, models that jobs made, and files."""
    made = [offer for offer in model_ids(incomplete) if offer[0].startswith("ft:")]
    return [*job_ids(incomplete), *made, *file_ids(incomplete)]


def hyperparameters(incomplete: str) -> list[Offer]:
    """Names of hyperparameters, each with the `=` that a value follows."""
    fields = Hyperparameters.model_fields.items()
    offers = ((f"{name}=", (field.description or "").split("\n")[0]) for name, field in fields)
    return _beginning(incomplete, offers)


def _listed(path: str, **query: str | int) -> list[Json]:
    try:
        with Client(ClientSettings(), timeout=_TIMEOUT) as client:
            found: list[Json] = client.get(path, query)["data"]
            return found
    except CommandError:
        return []


def _beginning(incomplete: str, offers: Iterator[Offer]) -> list[Offer]:
    return [(word, plain(said)) for word, said in offers if word.startswith(incomplete)]
