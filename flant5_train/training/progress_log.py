"""Writer of `progress.jsonl`; `flant5_train.protocol.progress` defines the format.

Imports neither torch nor transformers, so that programs that only write records start quickly.
"""

import os
from pathlib import Path

from flant5_train.protocol.progress import Record


class ProgressLog:
    """Appends records to `progress.jsonl`.

    Each record is one `write`: readers see whole lines, and a kill truncates only the last line.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        self._end_cut_line()

    def append(self, record: Record) -> None:
        """Appends a record, or nothing. Raises OSError if the disk is full."""
        line = record.model_dump_json().encode() + b"\n"
        size = os.lseek(self._descriptor, 0, os.SEEK_END)
        written = 0
        try:
            while written < len(line):  # a nearly full disk accepts a part
                written += os.write(self._descriptor, line[written:])
        except OSError:
            os.ftruncate(self._descriptor, size)
            raise

    def close(self) -> None:
        os.close(self._descriptor)

    def _end_cut_line(self) -> None:
        """Removes a truncated last line, left by a process that was killed while writing.

        Without this, the next record would be appended to that line.
        """
        size = os.lseek(self._descriptor, 0, os.SEEK_END)
        if size == 0:
            return
        tail = os.pread(self._descriptor, min(size, 1 << 20), max(0, size - (1 << 20)))
        os.ftruncate(self._descriptor, size - (len(tail) - tail.rfind(b"\n") - 1))
