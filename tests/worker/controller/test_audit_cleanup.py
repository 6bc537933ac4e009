"""Old days of the audit log."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.worker.controller.attic import Attic
from worker.controller.retention import remove_old_days


def day(audit: Path, *, days_ago: int) -> Path:
    """A file of that day, written just now."""
    audit.mkdir(exist_ok=True, parents=True)
    file = audit / f"{(datetime.now(UTC) - timedelta(days=days_ago)).date()}.jsonl"
    file.write_text("{}\n")
    return file


def test_days_that_are_old_enough_go_and_the_others_stay(attic: Attic) -> None:
    audit = attic.home / "audit"
    old = [day(audit, days_ago=number) for number in (400, 92)]
    young = [day(audit, days_ago=number) for number in (89, 1, 0)]
    other = audit / "2020-01-01-notes.jsonl"
    other.touch()
    attic.clean(keep_audit_days=90)
    assert sorted(audit.iterdir()) == sorted([*young, other]), old


def test_without_a_limit_all_days_stay(attic: Attic) -> None:
    file = day(attic.home / "audit", days_ago=4000)
    attic.clean()
    assert file.exists()


def test_a_day_that_can_not_be_removed_is_told_and_the_next_one_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stubborn, next_one = tmp_path / "2020-01-01.jsonl", tmp_path / "2020-01-02.jsonl"
    stubborn.mkdir()
    next_one.touch()
    list(remove_old_days(tmp_path, days=1))
    assert stubborn.exists()
    assert not next_one.exists()
    assert f"cannot remove {stubborn}" in caplog.text


def test_a_service_without_an_audit_log_has_nothing_to_remove(tmp_path: Path) -> None:
    assert list(remove_old_days(tmp_path / "audit", days=1)) == []
