"""Process pool that maps one function over many items, in order and in bounded memory.

The pools of `multiprocessing` and `concurrent.futures` import the caller's main module again, and
torch with it. `multiprocessing.Pool` waits forever for a killed process. `concurrent.futures` does
not report its exit code, and finishes running items on shutdown.

A child process runs `main` with the descriptor of its connection as the only argument. It receives
a function, then items, and sends results.
"""

import signal
import socket
import subprocess
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

from flant5_train.process import die_with_parent, leave_the_cores_to_others


@dataclass(frozen=True, slots=True)
class ItemFailed:
    """Stands in for a result if the function raised an error."""

    error: Exception


def main(descriptor: int) -> None:
    die_with_parent()
    leave_the_cores_to_others()
    with Connection(descriptor) as connection:
        function = connection.recv()
        while True:
            try:
                item = connection.recv()
            except EOFError:
                return
            connection.send(_outcome(function, item))


def _outcome(function: Callable[[Any], object], item: object) -> object:
    try:
        return function(item)
    except Exception as error:  # noqa: BLE001 - the parent raises it again
        # Pickling an error drops its traceback.
        error.add_note(f"in a process of a pool:\n{traceback.format_exc()}")
        return ItemFailed(error)


Item = TypeVar("Item")
Result = TypeVar("Result")

_MAX_EARLY_RESULTS = 2
"""Results per process that wait for an earlier one. More would take memory without a speedup."""


class ProcessLostError(Exception):
    """A process of the pool exited while it processed `item`."""

    def __init__(self, exit_code: int, item: object) -> None:
        super().__init__(f"a process ended with exit code {exit_code}")
        self.exit_code = exit_code
        """Negative signal number if the process was killed."""
        self.item = item


class ProcessPool(Generic[Item, Result]):
    """Pool of processes that apply `function`. Function, items and results must be picklable.

    Leaving the context kills the processes at once, even busy ones. They also die with this
    process.
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
        """Yields the result of each item, in order. Items are consumed as needed.

        Errors of the function and of `items` are raised in the turn of their item. Raises
        ProcessLostError at once if a process exits.
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
    """A child process and its connection."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            # As in `multiprocessing`, the child uses this process's module search path.
            program = (
                f"import sys; sys.path[:] = {sys.path!r};"
                f" from flant5_train.data.process_pool import main; main({theirs.fileno()})"
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
    """An item assigned to a process, and its outcome."""

    def __init__(self, process: _Process, item: Item | ItemFailed) -> None:
        self.process = process
        self._item = item
        self._outcome: Result | ItemFailed | None = None
        self.is_done = isinstance(item, ItemFailed)
        if isinstance(item, ItemFailed):
            self._outcome = item
        else:
            process.send(item)

    def receive(self) -> None:
        try:
            self._outcome = self.process.connection.recv()
        except (EOFError, OSError) as error:  # OSError: it was killed while sending
            raise ProcessLostError(self.process.child.wait(), self._item) from error
        self.is_done = True

    def result(self) -> Result:
        if isinstance(self._outcome, ItemFailed):
            raise self._outcome.error
        return cast(Result, self._outcome)


def _receive_some(tasks: Iterable[_Task[Item, Result]]) -> None:
    """Waits until at least one busy process has a result."""
    running = {task.process.connection: task for task in tasks if not task.is_done}
    for connection in wait(list(running)) if running else ():
        assert isinstance(connection, Connection)
        running[connection].receive()


def _and_their_fault(items: Iterable[Item]) -> Iterator[Item | ItemFailed]:
    """Yields the items, and as the last one the error that their iterator raised."""
    try:
        yield from items
    except Exception as error:  # noqa: BLE001 - raised again in its turn
        yield ItemFailed(error)


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Blocks SIGTERM and SIGINT while a child starts.

    The child inherits the mask and never receives them: this process kills its children itself.
    Without this, a signal during the start could leave a child behind.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
