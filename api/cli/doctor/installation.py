"""Checks that HOME and the temporary directory are writable, and the free disk space."""

import os
import tempfile
from pathlib import Path

from api.cli.doctor.finding import Finding, failed, fine, warning
from api.cli.views.format import size
from worker.jobs.errors import StartRefusedError
from worker.jobs.settings import temporary_directory
from worker.jobs.startup.home_check import (
    check_parts,
    check_path,
    check_temporary_directory,
    home_refused,
    probe_directory,
)
from worker.jobs.storage.paths import Home

LOW_BYTES = 2**30
WISHED_BYTES = 50 * 2**30
"""A checkpoint of flan-t5-xl has 2.85 billion weights and two moments of each, in fp32: 34 GB."""


def check_home(home: Path) -> Finding:
    """Writes and locks a file in HOME, or in its nearest existing parent if HOME is missing."""
    place = home.absolute()
    try:
        check_path(place)
        place = _nearest(place)
        probe_directory(place)
        check_parts(Home(place))
    except StartRefusedError as error:
        return failed(error.found, expected=error.expected, remedy=error.remedy)
    except OSError as error:
        refusal = home_refused(place, error)
        return failed(refusal.found, expected=refusal.expected, remedy=refusal.remedy)
    return _room(home, place)


def check_temporary_files() -> Finding:
    """Checks the directory for temporary files."""
    configured = temporary_directory()
    try:
        check_temporary_directory(configured)
    except StartRefusedError as error:
        return failed(error.found, expected=error.expected, remedy=error.remedy)
    return fine(f"{configured or tempfile.gettempdir()} is writable")


def _room(home: Path, place: Path) -> Finding:
    disk = os.statvfs(place)
    free = disk.f_bavail * disk.f_frsize
    created = f"{place}, where {home.name} will be created"
    where = str(place) if place == home.absolute() else created
    found = f"{size(free)} free in {where}; writable, locks work"
    if free >= WISHED_BYTES:
        return fine(found)
    problem = failed if free < LOW_BYTES else warning
    return problem(
        found,
        expected=f"{size(WISHED_BYTES)}: one checkpoint of flan-t5-xl takes 34 GB",
        remedy="set FLANT5_KEEP_CHECKPOINTS_DAYS and FLANT5_KEEP_CACHE_DAYS, or use a larger disk",
    )


def _nearest(path: Path) -> Path:
    """Returns the path or its nearest existing parent. Raises PermissionError."""
    while not path.exists():
        path = path.parent
    return path
