"""`flant5 recover`: restores job records from the run directories after a loss of Redis data."""

import time
from typing import Annotated

import typer

from api.cli.client import Client, Json, UnavailableError
from api.cli.commands.jobs import AsJson
from api.cli.errors import CommandError, reported
from api.cli.settings import ClientSettings
from api.cli.views.format import print_json, print_table

_POLL_SECONDS = 0.5
_ENDED = frozenset({"succeeded", "failed", "cancelled"})


def recover(
    patience: Annotated[
        float,
        typer.Option(
            "--patience", min=0, help="Seconds to wait for the recovery to make progress."
        ),
    ] = 60.0,
    as_json: AsJson = False,
) -> None:
    """Restore jobs that are on disk but not in Redis, and wait for the result."""
    with reported(as_json=as_json), Client(ClientSettings()) as client:
        recovery = _followed_to_its_end(client, client.post("/recover"), patience=patience)
        if as_json:
            print_json(recovery)
        else:
            _show(recovery)
        if recovery["problems"]:
            raise typer.Exit(1)


def _followed_to_its_end(client: Client, recovery: Json, *, patience: float) -> Json:
    """Polls until the recovery is done. Any progress restarts the `patience` timeout."""
    seen, since = recovery, time.monotonic()
    while recovery["status"] != "done":
        if recovery != seen:
            seen, since = recovery, time.monotonic()
        if time.monotonic() - since > patience:
            raise CommandError(
                f"recovery was requested, but made no progress in {patience:g} s; check that the "
                "keeper is running, then run `flant5 recover` again"
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
        ("already known", recovery["num_known"]),
        ("restored", len(restored)),
        ("restored, ended", num_ended),
        ("restored, active", len(restored) - num_ended),
        ("problems", len(problems)),
    ]
    print_table(("JOBS", "COUNT"), [(name, str(number)) for name, number in rows])
    if problems:
        typer.echo()
        print_table(("ID", "PROBLEM"), [(each["id"], each["message"]) for each in problems])
