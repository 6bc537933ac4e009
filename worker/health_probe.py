"""How a health check of a container says what it found: silence and 0, or a line and 1."""

import sys
from collections.abc import Callable

from pydantic import ValidationError

from worker.jobs.errors import StoreUnavailableError
from worker.jobs.settings import settings_fault


def exit_code(trouble: Callable[[], str | None]) -> int:
    """Of a program that looks for trouble; settings that are wrong, and a Redis that does not
    answer, are trouble too."""
    try:
        found = trouble()
    except ValidationError as error:
        found = f"the settings are wrong: {settings_fault(error)}"
    except (StoreUnavailableError, ValueError) as error:
        found = str(error)
    if found is not None:
        print(found, file=sys.stderr)  # noqa: T201
    return 0 if found is None else 1
