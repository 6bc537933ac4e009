"""`flant5 adopt`: assigns a Redis database to a HOME."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from api.cli.commands.jobs import AsJson
from api.cli.errors import CommandError, reported
from api.cli.views.format import print_json


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
