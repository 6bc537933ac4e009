"""A terminal of our own: a program runs in it, and the test sees the screen as a person would."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyte

from tests.api.cli_runs import environment

_PATIENCE_SECONDS = 60
_TO_OTHER_SCREEN, _TO_FIRST_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"


class Terminal:
    """What a terminal shows. The program may switch to a second screen and back."""

    def __init__(self, master: int, process: subprocess.Popen[bytes], *, columns: int) -> None:
        self._master = master
        self.process = process
        self._first = pyte.HistoryScreen(columns, 24, history=1000)
        self._shown = self._first
        self._stream = pyte.ByteStream(self._first)

    @property
    def lines(self) -> list[str]:
        """The screen, line by line."""
        return [line.rstrip() for line in self._shown.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def is_on_other_screen(self) -> bool:
        return self._shown is not self._first

    def resize(self, columns: int, lines: int) -> None:
        """As a person who drags the window; the program gets its signal from the kernel."""
        self._first.resize(lines, columns)
        self._shown.resize(lines, columns)
        set_size(self._master, columns, lines)

    def press(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def wait_until(self, is_true: Callable[[str], bool], *, what: str) -> str:
        """The screen's text, once it is as wished."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not is_true(self.text):
            assert time.monotonic() < deadline, f"waited for {what}; seen:\n{self.text}"
            if not self._read(0.1):
                assert is_true(self.text), f"it ended without {what}; seen:\n{self.text}"
        return self.text

    def wait_for(self, *texts: str) -> str:
        return self.wait_until(
            lambda seen: all(text in seen for text in texts), what=" and ".join(texts)
        )

    def end(self) -> str:
        """All that is left to see when the program has ended."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self._read(0.1):
            assert time.monotonic() < deadline, f"it does not end; seen:\n{self.text}"
        self.process.wait(timeout=_PATIENCE_SECONDS)
        return self.text

    def _read(self, seconds: float) -> bool:
        """Takes in what the program wrote within this time; False when it is gone."""
        if not select.select([self._master], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:  # nobody has the other side any more
            return False
        self._feed(data)
        return bool(data)

    def _feed(self, data: bytes) -> None:
        for switch in (_TO_OTHER_SCREEN, _TO_FIRST_SCREEN):
            before, found, after = data.partition(switch)
            if found:
                self._feed(before)
                self._show(is_other=switch == _TO_OTHER_SCREEN)
                self._feed(after)
                return
        self._stream.feed(data)

    def _show(self, *, is_other: bool) -> None:
        size = self._first.columns, self._first.lines
        self._shown = pyte.HistoryScreen(*size, history=1) if is_other else self._first
        self._stream = pyte.ByteStream(self._shown)


def set_size(descriptor: int, columns: int, lines: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))


@contextmanager
def in_terminal(
    argv: Sequence[str | Path], *, columns: int = 80, **settings: str | Path
) -> Iterator[Terminal]:
    """A program in a terminal of 24 lines; it is gone when the block ends, however it ends."""
    master, slave = pty.openpty()
    set_size(slave, columns, 24)
    inherited = environment(**settings)
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        inherited.pop(name, None)
    process = subprocess.Popen(
        list(map(str, argv)),
        env={**inherited, "TERM": "xterm-256color", "LANG": "C.UTF-8"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        # Of a session of its own, the terminal is what it is controlled by: Ctrl-C comes from it.
        start_new_session=True,
        preexec_fn=_take_terminal,
    )
    os.close(slave)
    try:
        yield Terminal(master, process, columns=columns)
    finally:
        process.kill()
        process.wait()
        os.close(master)


def _take_terminal() -> None:
    # Tests that a shell runs in the background ignore Ctrl-C, and what they start inherits that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
