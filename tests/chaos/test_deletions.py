"""Jobs of three owners are trained and deleted while the API, the controller and Redis are
killed."""

from pathlib import Path

import pytest

from tests.chaos.deletions import run_deletions


def check(home: Path, *, num_jobs: int, num_kept: int) -> None:
    report = run_deletions(home, num_jobs=num_jobs, num_kept=num_kept, seed=1)
    assert report.violations == (), report.account()
    assert report.num_deleted == num_jobs
    assert sum(report.kills.values()) > 0
    print(report.account())


@pytest.mark.stack
def test_a_few_deleted_jobs_leave_nothing_and_take_nothing_else_along(tmp_path: Path) -> None:
    check(tmp_path / "home", num_jobs=9, num_kept=3)


@pytest.mark.chaos
def test_two_hundred_deleted_jobs_leave_nothing_and_take_nothing_else_along(tmp_path: Path) -> None:
    check(tmp_path / "home", num_jobs=200, num_kept=20)
