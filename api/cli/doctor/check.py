"""A check by name, and how checks are run: none may hang, none may end the doctor."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from api.cli.doctor.finding import Finding, failed

LIMIT_SECONDS = 20.0
"""Longer than any program or server is waited for by a check itself, which says more."""


@dataclass(frozen=True, slots=True)
class Check:
    """One question about this host."""

    name: str
    look: Callable[[], Finding]


def examine(
    checks: Sequence[Check], *, limit_seconds: float = LIMIT_SECONDS
) -> Iterator[tuple[Check, Finding]]:
    """What each check found, in their order; all of them look at the same time, for at most
    `limit_seconds`. One that breaks, or is not through by then, has failed and says so."""
    deadline = time.monotonic() + limit_seconds
    looks = [_Look(check) for check in checks]
    for look in looks:
        look.start()
    for check, look in zip(checks, looks, strict=True):
        look.join(max(0.0, deadline - time.monotonic()))
        yield check, look.finding or _unfinished(limit_seconds)


class _Look(threading.Thread):
    """A daemon: a directory on a file server that is gone may block its reader for good, and the
    doctor must be able to end."""

    def __init__(self, check: Check) -> None:
        super().__init__(name=check.name, daemon=True)
        self._check = check
        self.finding: Finding | None = None

    def run(self) -> None:
        try:
            self.finding = self._check.look()
        except Exception as error:  # noqa: BLE001 -- whatever it is, the other checks go on
            self.finding = failed(
                f"the check itself broke: {type(error).__name__}: {error}",
                expected="a check that ends with an answer",
                remedy="please report it, with the output of `flant5 doctor --json`",
            )


def _unfinished(limit_seconds: float) -> Finding:
    return failed(
        f"no answer within {limit_seconds:g} s",
        expected="an answer at once; a device, a file server or a daemon hangs",
        remedy="see `sudo dmesg | tail` and `df`, then run `flant5 doctor` again",
    )
