"""Checks and their results, and access to this host for them.

All checks run in parallel, each with a timeout. A check that hangs or raises can't stop the doctor.
`Host` holds the properties of the host. `ask` runs programs such as `docker` and `nvidia-smi`, also
with a timeout.
"""

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self


class State(StrEnum):
    """Outcome of a check."""

    OK = "ok"
    WARNING = "warning"
    """The service runs, but below the expected quality or safety."""
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of a check. Problems have an expected value and a remedy, usually a command."""

    state: State
    found: str
    expected: str = ""
    remedy: str = ""

    @property
    def is_problem(self) -> bool:
        return self.state in (State.WARNING, State.FAILED)

    def as_document(self) -> dict[str, str]:
        """Returns the document for `--json`."""
        return asdict(self)


def fine(found: str) -> Finding:
    return Finding(State.OK, found)


def warning(found: str, *, expected: str, remedy: str) -> Finding:
    return Finding(State.WARNING, found, expected=expected, remedy=remedy)


def failed(found: str, *, expected: str, remedy: str) -> Finding:
    return Finding(State.FAILED, found, expected=expected, remedy=remedy)


def not_applicable(why: str) -> Finding:
    return Finding(State.NOT_APPLICABLE, why)


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


_ENGINE_MARKS = (".dockerenv", "run/.containerenv")
_PCI_DEVICES = "sys/bus/pci/devices"
_NVIDIA = "0x10de"
_DISPLAY = "0x03"


@dataclass(frozen=True, slots=True)
class Host:
    """Host properties that determine which checks apply."""

    in_container: bool
    """True in a container of Docker or Podman, detected by the engine's marker file."""
    has_card: bool
    """True if an NVIDIA GPU is installed, with or without a driver. Always False in containers,
    which see all cards of the machine, but may have access to none."""

    @classmethod
    def look(cls, root: Path = Path("/")) -> Self:
        in_container = any((root / mark).exists() for mark in _ENGINE_MARKS)
        has_card = not in_container and any(map(_is_card, (root / _PCI_DEVICES).glob("*")))
        return cls(in_container=in_container, has_card=has_card)

    @property
    def without_gpu(self) -> str:
        """Explanation for a host without a visible GPU."""
        if self.in_container:
            return "this container has no GPU"
        return "no NVIDIA GPU: training runs on the CPU"


def _is_card(device: Path) -> bool:
    try:
        vendor, kind = (device / "vendor").read_text(), (device / "class").read_text()
    except OSError:
        return False  # unplugged meanwhile
    return vendor.strip() == _NVIDIA and kind.startswith(_DISPLAY)


PATIENCE_SECONDS = 12.0
_MAX_SAID = 300


class ProgramMissingError(Exception):
    """The program is not on PATH."""


class ProgramError(Exception):
    """The program can't be run, or timed out."""


@dataclass(frozen=True, slots=True)
class ProgramOutput:
    """Exit code and output of a program."""

    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """Its error output, or else its output, on one line."""
        text = " ".join((self.err.strip() or self.out.strip()).split())
        return text[:_MAX_SAID] or f"exit code {self.code} without output"


def ask(
    *argv: str, directory: Path | None = None, patience_seconds: float = PATIENCE_SECONDS
) -> ProgramOutput:
    """Runs a program. On timeout, kills its process group.

    Raises ProgramMissingError and ProgramError.
    """
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=directory,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise ProgramMissingError(f"{argv[0]} is not on PATH") from error
    except OSError as error:
        raise ProgramError(f"{argv[0]} can't be run: {error.strerror}") from error
    with process:
        try:
            out, err = process.communicate(timeout=patience_seconds)
        except subprocess.TimeoutExpired as error:
            # The group: otherwise the child process of `docker compose` keeps the pipes open.
            os.killpg(process.pid, signal.SIGKILL)
            command = " ".join(argv)
            raise ProgramError(f"`{command}` timed out after {patience_seconds:g} s") from error
    return ProgramOutput(code=process.returncode, out=out, err=err)


def version_in(text: str) -> tuple[int, ...] | None:
    """
    >>> version_in("v2.26.1-4"), version_in("20.10.24+dfsg1"), version_in("580.95.05")
    ((2, 26, 1), (20, 10, 24), (580, 95, 5))
    """
    match = re.search(r"\d+(?:\.\d+)*", text)
    return None if match is None else tuple(map(int, match[0].split(".")))


def dotted(version: tuple[int, ...]) -> str:
    """
    >>> dotted((2, 24, 4))
    '2.24.4'
    """
    return ".".join(map(str, version))
