"""A log as after days of training: a large train.log, whose last lines are in Redis."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from redis import Redis

from worker.jobs.storage.log_format import format_line
from worker.jobs.store import keys

_LINE = "{{'loss': '0.693', 'grad_norm': '1.187', 'learning_rate': '9.7e-05', 'step': '{:09}'}}"
_LINES_AT_ONCE = 10_000
_AT = datetime(2026, 11, 24, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class LongLog:
    """Size of the log; all lines have the same length."""

    num_lines: int
    line_bytes: int

    def id_of(self, seq: int) -> str:
        """Returns the cursor of a line."""
        return f"{seq * self.line_bytes}-{seq}"


def write_long_log(redis: Redis, job_id: str, path: Path, *, num_bytes: int) -> LongLog:
    """Writes the file at `path`, and its last lines to the job's stream."""
    # Formatted once. Without this, a GB of lines would take minutes.
    raw = format_line(_LINE.format(0), stream="stdout", at=_AT)
    head, tail = raw.split(b"%09d" % 0)
    line_bytes = len(raw)
    log = LongLog(num_lines=num_bytes // line_bytes, line_bytes=line_bytes)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for numbers in _batches(log.num_lines):
            file.write(b"".join(b"%b%09d%b" % (head, number, tail) for number in numbers))
    newest = range(max(1, log.num_lines - keys.MAX_ENTRIES + 1), log.num_lines + 1)
    with redis.pipeline(transaction=False) as pipeline:
        for seq in newest:
            entry: dict[Any, Any] = {
                "seq": seq,
                "at": int(_AT.timestamp() * 1000),
                "stream": "stdout",
                "line": _LINE.format(seq),
            }
            pipeline.xadd(keys.logs(job_id), entry, id=log.id_of(seq))
        pipeline.execute()
    return log


def _batches(num_lines: int) -> Iterator[list[int]]:
    numbers = iter(range(1, num_lines + 1))
    while batch := list(itertools.islice(numbers, _LINES_AT_ONCE)):
        yield batch
