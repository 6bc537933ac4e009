"""The files that belong to a job and to nothing else; what it shares with others, such as the cache
and base models, is not among them."""

import re
from dataclasses import dataclass
from pathlib import Path

from worker.jobs.home import Home, RunDirectory
from worker.jobs.removal import num_bytes_of, remove

REMOVED = "removed-"
"""Begins the names of what is being removed from an output directory: it is nothing any more, to
trainers and to callers."""

_CHECKPOINT = re.compile(r"checkpoint-\d+", re.ASCII)


@dataclass(frozen=True, slots=True)
class JobFiles:
    """What lies on disk for one job."""

    home: Home
    job_id: str
    result_file: str | None
    """The id of its file of numbers, if it has one."""

    @property
    def run_directory(self) -> RunDirectory:
        return self.home.run_directory(self.job_id)

    @property
    def exist(self) -> bool:
        """Whether anything is there."""
        return any(path.exists() for path in self._paths)

    @property
    def num_bytes(self) -> int:
        return num_bytes_of(*self._paths)

    @property
    def model(self) -> tuple[Path, ...]:
        """The final model: whatever is in the output directory and no checkpoint. `config.json`
        comes first: a directory without it is no model."""
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
        """Raises OSError."""
        for path in self._paths:
            remove(path)

    @property
    def _paths(self) -> tuple[Path, ...]:
        if self.result_file is None:
            return (self.run_directory.path,)
        # That it is complete is told by `meta.json`, which goes first.
        result = self.home.files / self.result_file
        return (result / "meta.json", result, self.run_directory.path)
