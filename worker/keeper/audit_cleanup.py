"""Removes old files of the audit log (`api.http.audit`). Each file covers one day in UTC."""

import logging
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

logger = logging.getLogger(__name__)


def remove_old_days(audit: Path, *, days: float) -> Iterator[None]:
    """Removes one file per iteration.

    The age of a day is measured from its end and taken from the file name: the modification time
    changes when a file is copied. Files with other names are left alone.
    """
    for file in sorted(audit.glob("*.jsonl")):
        day = _day_of(file)
        if day is None or not _has_ended_for(day, days):
            continue
        try:
            file.unlink(missing_ok=True)  # another keeper may have been there first
            logger.info("audit log: removed %s, older than %g days", file.name, days)
        except OSError:
            logger.exception("audit log: cannot remove %s", file)
        yield


def _day_of(file: Path) -> date | None:
    try:
        return date.fromisoformat(file.stem)
    except ValueError:
        return None


def _has_ended_for(day: date, days: float) -> bool:
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    return datetime.now(UTC) - midnight > timedelta(days=days)
