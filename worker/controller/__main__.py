"""`python -m worker.controller`: runs the controller until SIGTERM."""

import sys

from pydantic import ValidationError

from worker.controller.controller import run_controller
from worker.controller.validation import CheckArgv, check_argv
from worker.jobs.errors import StartRefusedError
from worker.jobs.logging import configure_logging
from worker.jobs.settings import settings_fault
from worker.jobs.startup.start_check import wait_for_start
from worker.settings import WorkerSettings


def main(argv: CheckArgv = check_argv) -> int:
    try:
        settings = WorkerSettings()
    except ValidationError as error:
        print(f"the controller's settings are wrong: {settings_fault(error)}", file=sys.stderr)  # noqa: T201
        return 2
    configure_logging(settings.log_format, process="controller")
    try:
        wait_for_start(
            settings.redis_url,
            settings.home_directories,
            use="controller",
            may_lose_data=settings.allow_lossy_redis,
        )
        run_controller(settings, argv=argv)
    except StartRefusedError as error:
        print(f"the controller can't run: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
