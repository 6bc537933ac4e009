"""Processes that apply one function to many items, in order and with little in memory.

Not those of `multiprocessing` and `concurrent.futures`: their processes import the caller's main
module again, and torch with it; a pool of the one waits for ever for a process that was killed, and
the other does not say how it ended and lets running items end when it is told to stop.
"""

import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Generic, Self, TypeVar, cast

from flant5_train.pool_process import Failed

Item = TypeVar("Item")
Result = TypeVar("Result")

_MAX_EARLY_RESULTS = 2
"""Per process: results that wait for an earlier one. More would take memory and win nothing."""


class ProcessLostError(Exception):
    """A process of the pool ended by itself, while it worked on `item`."""

    def __init__(self, exit_code: int, item: object) -> None:
        super().__init__(f"a process ended with exit code {exit_code}")
        self.exit_code = exit_code
        """The number of the signal, negated, when the process was killed."""
        self.item = item


class ProcessPool(Generic[Item, Result]):
    """`function` has to be picklable, and so have items and results.

    Leaving the context ends the processes at once, whatever they are at. They die with this process
    too.
    """

    def __init__(self, function: Callable[[Item], Result], *, size: int) -> None:
        self._function = function
        self._size = size
        self._processes: list[_Process] = []

    def __enter__(self) -> Self:
        try:
            for _ in range(self._size):
                with _signals_held_back():
                    self._processes.append(_Process())
            for process in self._processes:
                process.send(self._function)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def _end(self) -> None:
        for process in self._processes:
            process.child.kill()
        for process in self._processes:
            process.connection.close()
            process.child.wait()

    def map(self, items: Iterable[Item]) -> Iterator[Result]:
        """The result for each item, in the order of the items, which are taken as they are needed.

        What the function raises for an item is raised in that item's turn, and so is what `items`
        raises. Raises ProcessLostError at once when a process ends.
        """
        source = _and_their_fault(items)
        tasks: deque[_Task[Item, Result]] = deque()
        while True:
            running = [task.process for task in tasks if not task.is_done]
            idle = [process for process in self._processes if process not in running]
            room = _MAX_EARLY_RESULTS * self._size - (len(tasks) - len(running))
            for process, item in zip(idle[:room], source, strict=False):
                tasks.append(_Task(process, item))
            if not tasks:
                return
            _receive_some(tasks)
            while tasks and tasks[0].is_done:
                yield tasks.popleft().result()


class _Process:
    """A child and the connection to it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            # As `multiprocessing` does it: the child finds modules where this process does.
            program = (
                f"import sys; sys.path[:] = {sys.path!r};"
                f" from flant5_train.pool_process import main; main({theirs.fileno()})"
            )
            self.child = subprocess.Popen(
                [sys.executable, "-c", program],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )
        self.connection = Connection(ours.detach())

    def send(self, message: object) -> None:
        try:
            self.connection.send(message)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise ProcessLostError(self.child.wait(), message) from error


class _Task(Generic[Item, Result]):
    """An item in the hands of a process, and what came of it."""

    def __init__(self, process: _Process, item: Item | Failed) -> None:
        self.process = process
        self._item = item
        self._outcome: Result | Failed | None = None
        self.is_done = isinstance(item, Failed)
        if isinstance(item, Failed):
            self._outcome = item
        else:
            process.send(item)

    def receive(self) -> None:
        try:
            self._outcome = self.process.connection.recv()
        except (EOFError, OSError) as error:  # OSError: it was killed while it sent
            raise ProcessLostError(self.process.child.wait(), self._item) from error
        self.is_done = True

    def result(self) -> Result:
        if isinstance(self._outcome, Failed):
            raise self._outcome.error
        return cast(Result, self._outcome)


def _receive_some(tasks: Iterable[_Task[Item, Result]]) -> None:
    """Waits for the first processes that are done, if any is at work."""
    running = {task.process.connection: task for task in tasks if not task.is_done}
    for connection in wait(list(running)) if running else ():
        assert isinstance(connection, Connection)
        running[connection].receive()


def _and_their_fault(items: Iterable[Item]) -> Iterator[Item | Failed]:
    """The items, and as the last one what went wrong while they were made."""
    try:
        yield from items
    except Exception as error:  # noqa: BLE001 - it is raised again, in its turn
        yield Failed(error)


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """A child that is started meanwhile never gets those signals: they are for this process, which
    ends its children itself. And none gets lost because one arrives while it is being started."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
