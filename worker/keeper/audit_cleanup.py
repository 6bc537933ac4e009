"""The files of the audit log (`api.audit`), a day each in UTC, that are older than the settings
keep them."""

import logging
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

logger = logging.getLogger(__name__)


def remove_old_days(audit: Path, *, days: float) -> Iterator[None]:
    """One file each time it is asked to go on. The age of a day is counted from its end, by the
    file's name: its time changes when it is copied. What has no such name is left alone."""
    for file in sorted(audit.glob("*.jsonl")):
        day = _day_of(file)
        if day is None or not _has_ended_for(day, days):
            continue
        try:
            file.unlink(missing_ok=True)  # another keeper may have been there first
            logger.info("%s removed from the audit log: older than %g days", file.name, days)
        except OSError:
            logger.exception("%s not removed from the audit log", file)
        yield


def _day_of(file: Path) -> date | None:
    try:
        return date.fromisoformat(file.stem)
    except ValueError:
        return None


def _has_ended_for(day: date, days: float) -> bool:
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    return datetime.now(UTC) - midnight > timedelta(days=days)
