"""Runs of the command `flant5`, as a person at a terminal or a script sees them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FLANT5 = (sys.executable, "-c", "from api.cli.main import app; app()")


@dataclass(frozen=True, slots=True)
class Run:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


def environment(**settings: str | Path) -> dict[str, str]:
    """This process's environment with only these settings of ours."""
    ours = {f"FLANT5_{name.upper()}": str(value) for name, value in settings.items()}
    others = {name: value for name, value in os.environ.items() if not name.startswith("FLANT5_")}
    return others | {"PYTHONPATH": os.getcwd()} | ours


def flant5(*args: str | Path, **settings: str | Path) -> Run:
    """Run the command to its end."""
    done = subprocess.run(
        [*FLANT5, *map(str, args)],
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Run(code=done.returncode, out=done.stdout, err=done.stderr)


@contextmanager
def started(argv: Sequence[str | Path], **settings: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A program that runs meanwhile; it is gone when the block ends, however it ends."""
    process = subprocess.Popen(
        list(map(str, argv)),
        env=environment(**settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line_of(process: subprocess.Popen[str]) -> str:
    """The next line it prints."""
    assert process.stdout is not None
    return process.stdout.readline()
