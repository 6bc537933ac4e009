"""`.ci/run` with a `make` that only says what it was asked for."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

GATE = Path(__file__).parents[1] / ".ci" / "run"
MAKE = """#!/bin/sh
echo "made $1"
test "$1" != "$BROKEN"
"""
SUITES = ["demo", "demo", "lint", "test", "test-stack", "test-browser", "test-docker", "chaos"]


def gate(clone: Path, *, broken: str = "") -> subprocess.CompletedProcess[str]:
    """The gate of a clone in which one thing is broken."""
    (clone / ".ci").mkdir()
    shutil.copy(GATE, clone / ".ci" / "run")
    program = clone / "bin" / "make"
    program.parent.mkdir()
    program.write_text(MAKE)
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    return subprocess.run(
        [clone / ".ci" / "run"],
        env=os.environ | {"PATH": path, "BROKEN": broken},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_all_suites_are_run_and_the_seconds_of_each_are_told(tmp_path: Path) -> None:
    done = gate(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.findall(r"^made (\S+)", done.stdout, re.MULTILINE) == SUITES
    told, table = done.stdout.rsplit("== seconds", 1)
    names = re.findall(r"^== (.+)", told, re.MULTILINE)
    assert len(names) == len(SUITES)
    assert re.findall(r"^ +\d+ s  (.+)$", table, re.MULTILINE) == names


@pytest.mark.parametrize("broken", dict.fromkeys(SUITES))
def test_a_suite_that_fails_is_named_and_fails_the_gate(tmp_path: Path, broken: str) -> None:
    done = gate(tmp_path, broken=broken)
    assert done.returncode != 0, done
    (line,) = re.findall(r"^ .*: FAILED$", done.stdout, re.MULTILINE)
    step = re.sub(r" +\d+ s  (.+): FAILED", r"\1", line)
    said = done.stdout.split(f"== {step}\n", 1)[1]
    assert said.startswith(f"made {broken}\n")
    assert "made" not in said[len("made") :], "and nothing is tried after it"
