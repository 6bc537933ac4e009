"""`flant5 recover`: the job records back from the run directories, after the store was lost."""

import time
from typing import Annotated

import typer

from api.cli.client import Client, Json, UnavailableError
from api.cli.errors import CommandError, reported
from api.cli.jobs import AsJson
from api.cli.printing import print_json, print_table
from api.cli.settings import ClientSettings

_POLL_SECONDS = 0.5
_ENDED = frozenset({"succeeded", "failed", "cancelled"})


def recover(
    patience: Annotated[
        float,
        typer.Option("--patience", min=0, help="Seconds to wait for the keeper to begin or go on."),
    ] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Bring back jobs that are on disk and not in Redis, and wait until that is done."""
    with reported(as_json=as_json), Client(ClientSettings()) as client:
        recovery = _followed_to_its_end(client, client.post("/recover"), patience=patience)
        if as_json:
            print_json(recovery)
        else:
            _show(recovery)
        if recovery["problems"]:
            raise typer.Exit(1)


def _followed_to_its_end(client: Client, recovery: Json, *, patience: float) -> Json:
    """Patience begins anew with each sign that somebody works on it."""
    seen, since = recovery, time.monotonic()
    while recovery["status"] != "done":
        if recovery != seen:
            seen, since = recovery, time.monotonic()
        if time.monotonic() - since > patience:
            raise CommandError(
                f"the recovery was asked for, and nothing has happened in {patience:g} s: it is "
                "done by the keeper; is it running? `flant5 recover` follows it again"
            )
        time.sleep(_POLL_SECONDS)
        recovery = _state(client, recovery)
    return recovery


def _state(client: Client, known: Json) -> Json:
    try:
        return client.get("/recover")
    except UnavailableError:
        return known


def _show(recovery: Json) -> None:
    restored, problems = recovery["restored"], recovery["problems"]
    num_ended = sum(job["status"] in _ENDED for job in restored)
    rows = [
        ("on disk", recovery["num_found"]),
        ("known before", recovery["num_known"]),
        ("restored", len(restored)),
        ("of these ended", num_ended),
        ("of these go on", len(restored) - num_ended),
        ("problems", len(problems)),
    ]
    print_table(("JOBS", "NUMBER"), [(name, str(number)) for name, number in rows])
    if problems:
        typer.echo()
        print_table(("ID", "PROBLEM"), [(each["id"], each["message"]) for each in problems])
