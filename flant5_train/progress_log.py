"""Appending to `progress.jsonl`, whose format `flant5_train.progress` is."""

import os
from pathlib import Path

from flant5_train.progress import Record


class ProgressLog:
    """Appends records to `progress.jsonl`, each in one `write` so that a reader sees whole lines
    and a kill leaves at most a cut last line."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        self._end_cut_line()

    def append(self, record: Record) -> None:
        """Raises OSError when the disk is full; nothing of the record is left then."""
        line = record.model_dump_json().encode() + b"\n"
        size = os.lseek(self._descriptor, 0, os.SEEK_END)
        written = 0
        try:
            while written < len(line):  # a disk that is nearly full takes a part
                written += os.write(self._descriptor, line[written:])
        except OSError:
            os.ftruncate(self._descriptor, size)
            raise

    def close(self) -> None:
        os.close(self._descriptor)

    def _end_cut_line(self) -> None:
        """A predecessor that was killed while writing left a cut line: drop it, so that the next
        record does not grow out of it."""
        size = os.lseek(self._descriptor, 0, os.SEEK_END)
        if size == 0:
            return
        tail = os.pread(self._descriptor, min(size, 1 << 20), max(0, size - (1 << 20)))
        os.ftruncate(self._descriptor, size - (len(tail) - tail.rfind(b"\n") - 1))
