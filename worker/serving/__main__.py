"""`python -m worker.serving`: serves chat requests until SIGTERM."""

import logging
import sys

from pydantic import ValidationError

from worker.jobs.errors import StartRefusedError
from worker.jobs.settings import settings_fault
from worker.jobs.startup.start_check import wait_for_start
from worker.serving.process import InferenceSettings, ServeArgv, inference_argv
from worker.serving.server import run_server


def main(argv: ServeArgv = inference_argv) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = InferenceSettings()
    except ValidationError as error:
        wrong = settings_fault(error)
        print(f"the settings of the serving process are wrong: {wrong}", file=sys.stderr)  # noqa: T201
        return 2
    try:
        wait_for_start(
            settings.redis_url,
            settings.home_directories,
            use="reads",
            may_lose_data=settings.allow_lossy_redis,
        )
    except StartRefusedError as error:
        print(f"the serving process can't run: {error}", file=sys.stderr)  # noqa: T201
        return 2
    run_server(settings, argv=argv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
