"""Runs programs of this host, such as `docker` and `nvidia-smi`, with a timeout."""

import os
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

PATIENCE_SECONDS = 12.0
_MAX_SAID = 300


class ProgramMissingError(Exception):
    """The program is not on PATH."""


class ProgramError(Exception):
    """The program can't be run, or timed out."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Exit code and output of a program."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """Its error output, or else its output, on one line."""
        text = " ".join((self.err.strip() or self.out.strip()).split())
        return text[:_MAX_SAID] or f"exit code {self.code} without output"


def ask(
    *argv: str, directory: Path | None = None, patience_seconds: float = PATIENCE_SECONDS
) -> Answer:
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
    return Answer(code=process.returncode, out=out, err=err)


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
