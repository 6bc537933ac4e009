"""Runs checks in parallel with a timeout. A check that hangs or raises can't stop the doctor."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from api.cli.doctor.finding import Finding, failed

LIMIT_SECONDS = 20.0
"""Timeout of a check. Longer than the timeouts within checks, which give more specific errors."""


@dataclass(frozen=True, slots=True)
class Check:
    """A named check of this host."""

    name: str
    look: Callable[[], Finding]


def examine(
    checks: Sequence[Check], *, limit_seconds: float = LIMIT_SECONDS
) -> Iterator[tuple[Check, Finding]]:
    """Yields the finding of each check, in order. All checks run in parallel.

    A check that raises, or takes longer than `limit_seconds`, yields a failed finding.
    """
    deadline = time.monotonic() + limit_seconds
    looks = [_Look(check) for check in checks]
    for look in looks:
        look.start()
    for check, look in zip(checks, looks, strict=True):
        look.join(max(0.0, deadline - time.monotonic()))
        yield check, look.finding or _unfinished(limit_seconds)


class _Look(threading.Thread):
    """Thread that runs one check.

    It is a daemon: a dead file server can block a reader forever, and the doctor must still exit.
    """

    def __init__(self, check: Check) -> None:
        super().__init__(name=check.name, daemon=True)
        self._check = check
        self.finding: Finding | None = None

    def run(self) -> None:
        try:
            self.finding = self._check.look()
        except Exception as error:  # noqa: BLE001 -- whatever it is, the other checks go on
            self.finding = failed(
                f"the check itself failed: {type(error).__name__}: {error}",
                expected="a check that completes",
                remedy="report this bug, with the output of `flant5 doctor --json`",
            )


def _unfinished(limit_seconds: float) -> Finding:
    return failed(
        f"no result within {limit_seconds:g} s",
        expected="an immediate result; a device, a file server or a daemon may hang",
        remedy="check `sudo dmesg | tail` and `df`, then run `flant5 doctor` again",
    )
