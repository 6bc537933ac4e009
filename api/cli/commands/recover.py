"""`flant5 recover` and `flant5 adopt`: repair a service whose Redis data were lost or moved.

`recover` restores job records from the run directories. `adopt` assigns a Redis database to a HOME.
"""

import time
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from api.cli.client import Client, CommandError, Json, UnavailableError, reported
from api.cli.commands.jobs import AsJson
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
                "controller is running, then run `flant5 recover` again"
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


def adopt(
    home: Annotated[
        Path | None, typer.Option(help="Data directory (default: FLANT5_HOME).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Assign the database at FLANT5_REDIS_URL to the service of HOME, after a deliberate move."""
    # Imported here: the Redis client adds a third to the import time of other commands.
    from redis.exceptions import RedisError

    from worker.jobs.errors import JobsError
    from worker.jobs.redis_address import RedisAddress
    from worker.jobs.settings import SharedSettings, settings_fault
    from worker.jobs.startup.server_check import check_server
    from worker.jobs.startup.service_identity import ServiceIdentity
    from worker.jobs.store.redis import open_redis

    with reported(as_json=as_json):
        try:
            settings = SharedSettings() if home is None else SharedSettings(home=home)
            url, directories = settings.redis_url, settings.home_directories
            check_server(url)
            address = RedisAddress.parse(url.get_secret_value())
            with open_redis(url) as redis:
                new, former = ServiceIdentity(redis, directories, address).adopt()
        except ValidationError as error:
            raise CommandError(settings_fault(error)) from error
        except (JobsError, RedisError, OSError) as error:
            raise CommandError(str(error)) from error
        place = f"{address.place}, database {address.db}"
        if as_json:
            print_json({"service": new, "former": former, "home": str(directories.root)})
        else:
            typer.echo(f"Redis at {place} now belongs to {new}, like {directories.root}")
            typer.echo(f"(before: {former or 'no service'})")
