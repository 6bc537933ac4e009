"""Shell completion of ids on the server and of hyperparameter names.

A shell must not hang or print errors while a line is edited. The server has one second; if it does
not respond, nothing is completed.
"""

from collections.abc import Iterator

import httpx

from api.cli.client import Client, Json
from api.cli.errors import CommandError
from api.cli.settings import ClientSettings
from api.cli.views.format import plain, state_of
from flant5_train.config import Hyperparameters

_TIMEOUT = httpx.Timeout(1.0)
_MAX_OFFERED = 100

Offer = tuple[str, str]
"""A completion, and the help text that some shells show beside it."""


def job_ids(incomplete: str) -> list[Offer]:
    """Completes job ids, newest first."""
    found = _listed("/fine_tuning/jobs", limit=_MAX_OFFERED)
    return _beginning(
        incomplete, ((job["id"], f"{job['model']}, {state_of(job)}") for job in found)
    )


def file_ids(incomplete: str) -> list[Offer]:
    """Completes ids of uploaded conversations, newest first, unless a local path is typed."""
    if incomplete and not incomplete.startswith("file"):
        return []
    found = _listed("/files", limit=_MAX_OFFERED, purpose="fine-tune")
    return _beginning(incomplete, ((file["id"], file["filename"]) for file in found))


def model_ids(incomplete: str) -> list[Offer]:
    """Completes ids of models on the server."""
    return _beginning(incomplete, ((model["id"], "") for model in _listed("/models")))


def deletable_ids(incomplete: str) -> list[Offer]:
    """Completes ids of jobs, fine-tuned models, and files."""
    made = [offer for offer in model_ids(incomplete) if offer[0].startswith("ft:")]
    return [*job_ids(incomplete), *made, *file_ids(incomplete)]


def hyperparameters(incomplete: str) -> list[Offer]:
    """Completes names of hyperparameters, each with a trailing `=`."""
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
