"""The directory with everything that must last: it can be written, locked, and has room."""

import os
import tempfile
from pathlib import Path

from api.cli.doctor.finding import Finding, failed, fine, warning
from api.cli.printing import size
from worker.jobs.errors import StartRefusedError
from worker.jobs.home import Home
from worker.jobs.home_check import (
    check_parts,
    check_path,
    check_temporary_directory,
    home_refused,
    probe_directory,
)
from worker.jobs.settings import temporary_directory

LOW_BYTES = 2**30
WISHED_BYTES = 50 * 2**30
"""A checkpoint of flan-t5-xl holds 2.85 billion weights and two moments of each, in fp32: 34 GB."""


def check_home(home: Path) -> Finding:
    """Really writes and locks a file; in the nearest directory above while there is no HOME yet."""
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
    """The directory that programs of this environment put temporary files into."""
    configured = temporary_directory()
    try:
        check_temporary_directory(configured)
    except StartRefusedError as error:
        return failed(error.found, expected=error.expected, remedy=error.remedy)
    return fine(f"{configured or tempfile.gettempdir()} can be written")


def _room(home: Path, place: Path) -> Finding:
    disk = os.statvfs(place)
    free = disk.f_bavail * disk.f_frsize
    where = str(place) if place == home.absolute() else f"{place}, where {home.name} will be made"
    found = f"{size(free)} free in {where}; it can be written and locked"
    if free >= WISHED_BYTES:
        return fine(found)
    problem = failed if free < LOW_BYTES else warning
    return problem(
        found,
        expected=f"{size(WISHED_BYTES)}: one checkpoint of flan-t5-xl takes 34 GB",
        remedy="set FLANT5_KEEP_CHECKPOINTS_DAYS and FLANT5_KEEP_CACHE_DAYS, or a larger disk",
    )


def _nearest(path: Path) -> Path:
    """The path itself, or the directory above that is there. Raises PermissionError on the way."""
    while not path.exists():
        path = path.parent
    return path
