"""Options and arguments shared by commands: shell completion, file references, integrations.

Completion covers ids on the server and hyperparameter names. A shell must not hang or print errors
while a line is edited. The server has one second; if it does not respond, nothing is completed.

A file argument is a local path, or the id of a file on the server. `integration` parses the option
`--integration` of `flant5 submit`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import httpx

from api.cli.client import Client, CommandError, Json
from api.cli.settings import ClientSettings
from api.cli.views.format import plain, state_of
from flant5_train.config import Hyperparameters
from worker.jobs.integrations import IntegrationType

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
    return [(word, plain(help_text)) for word, help_text in offers if word.startswith(incomplete)]


_FILE_ID = re.compile(r"file-[0-9a-z]+")


def file_id_of(client: Client, reference: str) -> str:
    """Returns the file id, after uploading a local file. Raises CommandError for anything else."""
    path = Path(reference)
    if path.is_file():
        file_id: str = client.upload(path)["id"]
        return file_id
    if _FILE_ID.fullmatch(reference):
        return reference
    raise CommandError(f"{reference} is neither a local file nor the id of an uploaded file")


_EXPECTED = "expected TYPE:NAME=VALUE,..., such as wandb:project=chats,name=first"
_LISTS = frozenset({("wandb", "tags")})
_BOOLEANS = {"true": True, "false": False}


def integration(text: str) -> dict[str, Any]:
    """Returns the integration of a create request. The server validates its settings.

    >>> integration("wandb:project=chats,tags=a,tags=b")
    {'type': 'wandb', 'wandb': {'project': 'chats', 'tags': ['a', 'b']}}
    """
    kind, colon, rest = text.partition(":")
    types = get_args(IntegrationType)
    if not colon or kind not in types:
        raise CommandError(f"--integration {text}: {_EXPECTED}; types are {', '.join(types)}")
    settings: dict[str, Any] = {}
    for part in rest.split(","):
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise CommandError(f"--integration {text}: found {part!r}; {_EXPECTED}")
        if (kind, name) in _LISTS:
            settings[name] = [*settings.get(name, []), value]
        elif name in settings:
            raise CommandError(f"--integration {text}: {name} is given twice")
        else:
            settings[name] = _BOOLEANS.get(value, value) if name == "private" else value
    return {"type": kind, kind: settings}
