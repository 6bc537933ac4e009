"""Shutdown flag, set by the worker's main process and read by its pool processes."""

import mmap


class StopFlag:
    """One byte of memory, shared with all processes forked later.

    Unlike a file, it cannot be left over from an earlier run.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)

    def set(self) -> None:
        self._memory[0] = 1

    def is_set(self) -> bool:
        return self._memory[0] == 1
