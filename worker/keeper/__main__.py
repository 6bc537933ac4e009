"""`python -m worker.keeper`: keeps until it is told to stop (SIGTERM)."""

import sys

from pydantic import ValidationError

from worker.jobs.process_log import configure_logging
from worker.keeper.file_check import CheckArgv, check_argv
from worker.keeper.keeper import run_keeper
from worker.settings import WorkerSettings


def main(argv: CheckArgv = check_argv) -> int:
    try:
        settings = WorkerSettings()
    except ValidationError as error:
        print(f"the keeper's settings are wrong: {error}", file=sys.stderr)  # noqa: T201
        return 2
    configure_logging(settings.log_format, process="keeper")
    run_keeper(settings, argv=argv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
