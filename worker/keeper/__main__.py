"""`python -m worker.keeper`: keeps until it is told to stop (SIGTERM)."""

import logging
import sys

from pydantic import ValidationError

from worker.keeper.file_check import CheckArgv, check_argv
from worker.keeper.keeper import run_keeper
from worker.settings import WorkerSettings


def main(argv: CheckArgv = check_argv) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = WorkerSettings()
    except ValidationError as error:
        print(f"the keeper's settings are wrong: {error}", file=sys.stderr)  # noqa: T201
        return 2
    run_keeper(settings, argv=argv)
    return 0


if __name__ == "__main__":
    sys.exit(main())
