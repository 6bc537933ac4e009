"""A flag that the worker's main process sets and its pool processes see."""

import mmap


class StopFlag:
    """One byte of memory shared with all processes forked after it was made: unlike a file it
    cannot be left over from another run."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)

    def set(self) -> None:
        self._memory[0] = 1

    def is_set(self) -> bool:
        return self._memory[0] == 1
