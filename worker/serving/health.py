"""`python -m worker.serving.health`: whether the serving process of this container is at work."""

import sys

from worker.health_probe import exit_code
from worker.jobs.chat_servers import PRESENCE_SECONDS, ChatServers
from worker.jobs.connection import open_redis
from worker.jobs.errors import StoreUnavailableError
from worker.serving.settings import ServeSettings


def serving_trouble(settings: ServeSettings) -> str | None:
    """Why the serving process of this name answers nothing; None when it does."""
    with open_redis(settings.redis_url) as redis:
        try:
            here = ChatServers(redis).all()
        except StoreUnavailableError as error:
            return str(error)
    if any(server.rpartition(":")[0] == settings.serve_name for server in here):
        return None
    return (
        f"the serving process {settings.serve_name!r} has said nothing for {PRESENCE_SECONDS:g} s"
    )


def main() -> int:
    return exit_code(lambda: serving_trouble(ServeSettings()))


if __name__ == "__main__":
    sys.exit(main())
