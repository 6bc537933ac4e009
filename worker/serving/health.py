"""`python -m worker.serving.health`: health check of this container's serving process."""

import sys

from worker.daemon import exit_code
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.store.inference import PRESENCE_SECONDS, InferenceWorkers
from worker.jobs.store.redis import open_redis
from worker.serving.process import InferenceSettings


def serving_trouble(settings: InferenceSettings) -> str | None:
    """Returns the problem of the serving process with this name, or None if it is healthy."""
    with open_redis(settings.redis_url) as redis:
        try:
            here = InferenceWorkers(redis).all()
        except StoreUnavailableError as error:
            return str(error)
    if any(server.rpartition(":")[0] == settings.inference_name for server in here):
        return None
    return (
        f"serving process {settings.inference_name!r} has sent no heartbeat for "
        f"{PRESENCE_SECONDS:g} s"
    )


def main() -> int:
    return exit_code(lambda: serving_trouble(InferenceSettings()))


if __name__ == "__main__":
    sys.exit(main())
