"""Parallel encoding of a conversation file.

The result does not depend on the number of processes.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

from flant5_train.data.process_pool import ProcessLostError, ProcessPool
from flant5_train.data.reader import RecordBlock, read_blocks
from flant5_train.encoding import BlockEncoder, EncodedBlock
from flant5_train.protocol.failure import FailureCode, TrainingError

_SMALL_BYTES = 8 << 20
"""Below this size, encoding takes less time than starting processes."""
_MAX_PROCESSES = 8
"""This process reads JSON about six times as fast as another process encodes it."""


def num_processes_for(path: Path) -> int:
    """Returns the number of processes to encode a file; 1 means this process."""
    if path.stat().st_size < _SMALL_BYTES:
        return 1
    return min(len(os.sched_getaffinity(0)), _MAX_PROCESSES)


def encode_file(path: Path, encode: BlockEncoder, *, num_processes: int) -> Iterator[EncodedBlock]:
    """Yields the blocks of a file, in order.

    Raises DataError for the first problem in the file, and TrainingError if a process dies.
    """
    blocks = read_blocks(path)
    if num_processes == 1:
        yield from map(encode, blocks)
        return
    try:
        with ProcessPool(encode, size=num_processes) as pool:
            yield from pool.map(blocks)
    except ProcessLostError as error:
        raise _lost(error, name=path.name) from error


def _lost(error: ProcessLostError, *, name: str) -> TrainingError:
    where = f"the conversations of {name}"
    if isinstance(error.item, RecordBlock):
        first, last = error.item.records[0].place, error.item.records[-1].place
        where = f"records {first.record} to {last.record} of {name}"
    if error.exit_code >= 0:
        ended, code = f"ended with exit code {error.exit_code}", FailureCode.INTERNAL
    else:
        number = signal.Signals(-error.exit_code)
        ended, code = f"was killed by signal {int(number)} ({number.name})", FailureCode.KILLED
        if number is signal.SIGKILL:
            ended += ", most likely because memory ran out,"
            code = FailureCode.HOST_OOM
    return TrainingError(code, f"a preprocessing process {ended} while encoding {where}")
