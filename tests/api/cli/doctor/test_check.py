"""No check can hang the doctor or end it."""

import threading
from pathlib import Path

import pytest

from api.cli.doctor.check import (
    Check,
    Finding,
    ProgramError,
    ProgramMissingError,
    State,
    ask,
    examine,
    fine,
)
from tests.api.cli.doctor.programs import put
from tests.api.scenes import wait_until
from tests.worker.scenes import is_alive


def test_a_check_that_hangs_or_breaks_has_failed_and_the_others_answer() -> None:
    is_over = threading.Event()

    def hangs() -> Finding:
        is_over.wait()
        return fine("too late")

    def breaks() -> Finding:
        raise RuntimeError("odd")

    checks = [Check("hangs", hangs), Check("breaks", breaks), Check("works", lambda: fine("well"))]
    try:
        seen = {check.name: finding for check, finding in examine(checks, limit_seconds=0.2)}
    finally:
        is_over.set()
    assert list(seen) == ["hangs", "breaks", "works"]
    assert seen["hangs"].state is State.FAILED
    assert "no result within 0.2 s" in seen["hangs"].found
    assert "RuntimeError: odd" in seen["breaks"].found
    assert seen["works"] == fine("well")
    assert all(finding.remedy for finding in seen.values() if finding.is_problem)


def test_a_program_that_hangs_is_killed_with_what_it_started(programs: Path) -> None:
    put(programs, "hangs", "/bin/sleep 600 &\necho $! > $0.pid\nwait")
    with pytest.raises(ProgramError, match=r"`hangs now` timed out after 0\.3 s"):
        ask("hangs", "now", patience_seconds=0.3)
    pid = int((programs / "hangs.pid").read_text())
    wait_until(lambda: not is_alive(pid), what="the program's child to end")


def test_a_program_that_is_missing_or_none_is_said(programs: Path) -> None:
    with pytest.raises(ProgramMissingError, match="nothing is not on PATH"):
        ask("nothing")
    put(programs, "odd", "").write_bytes(b"\x7fno program")
    with pytest.raises(ProgramError, match="odd can't be run"):
        ask("odd")
