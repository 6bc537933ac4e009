"""The files that belong to one job only: their size and removal.

Shared files, such as the cache and base models, are not included.
"""

import re
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from worker.jobs.storage.paths import Home, RunDirectory

_MAX_TRIES = 5


def num_bytes_of(*paths: Path) -> int:
    """Returns the total size of these files and of all files under these directories. A missing
    path has no bytes, and a file with several names counts once."""
    found: dict[tuple[int, int], int] = {}
    for path in paths:
        for each in (path, *path.rglob("*")):
            try:
                status = each.lstat()
            except FileNotFoundError:
                continue  # removed meanwhile
            if not stat.S_ISDIR(status.st_mode):
                found[status.st_dev, status.st_ino] = status.st_size
    return sum(found.values())


def remove(path: Path) -> None:
    """Removes a file, or a directory with its content; returns once all of it is gone.

    Other processes may write into the directory, or remove it as well. Raises OSError.
    """
    for num_left in reversed(range(_MAX_TRIES)):
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError:
            if num_left == 0:
                raise
        if not path.exists():
            return


REMOVED = "removed-"
"""Name prefix of entries that are being removed from an output directory. Trainers and callers
ignore them."""

_CHECKPOINT = re.compile(r"checkpoint-\d+", re.ASCII)


@dataclass(frozen=True, slots=True)
class JobFiles:
    """The files on disk of one job."""

    home: Home
    job_id: str
    result_file: str | None
    """Id of its result file of step metrics, if it has one."""

    @property
    def run_directory(self) -> RunDirectory:
        return self.home.run_directory(self.job_id)

    @property
    def exist(self) -> bool:
        """True if any of the files exists."""
        return any(path.exists() for path in self._paths)

    @property
    def num_bytes(self) -> int:
        return num_bytes_of(*self._paths)

    @property
    def model(self) -> tuple[Path, ...]:
        """The files of the final model: everything in the output directory except checkpoints.
        `config.json` comes first: a directory without it is not a model."""
        output = self.run_directory.output
        found = [
            path
            for path in (output.iterdir() if output.is_dir() else ())
            if not _CHECKPOINT.fullmatch(path.name) and not path.name.startswith(REMOVED)
        ]
        return tuple(sorted(found, key=lambda path: (path.name != "config.json", path.name)))

    def checkpoint(self, step: int) -> Path:
        return self.run_directory.output / f"checkpoint-{step}"

    def remove_all(self) -> None:
        """Removes all files of the job. Raises OSError."""
        for path in self._paths:
            remove(path)

    @property
    def _paths(self) -> tuple[Path, ...]:
        if self.result_file is None:
            return (self.run_directory.path,)
        # `meta.json` marks a file as complete, so it is removed first.
        result = self.home.files / self.result_file
        return (result / "meta.json", result, self.run_directory.path)
