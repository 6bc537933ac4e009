"""Exit code and output of a container health check: 0 and no output, or 1 and one line."""

import sys
from collections.abc import Callable

from pydantic import ValidationError

from worker.jobs.errors import StoreUnavailableError
from worker.jobs.settings import settings_fault


def exit_code(trouble: Callable[[], str | None]) -> int:
    """Prints the result of `trouble` and returns the exit code.

    Invalid settings and an unreachable Redis count as trouble.
    """
    try:
        found = trouble()
    except ValidationError as error:
        found = f"the settings are wrong: {settings_fault(error)}"
    except (StoreUnavailableError, ValueError) as error:
        found = str(error)
    if found is not None:
        print(found, file=sys.stderr)  # noqa: T201
    return 0 if found is None else 1
