"""A file descriptor for signals, for use with `select`."""

import os
import signal


def readable_on(*numbers: signal.Signals) -> int:
    """Returns a descriptor that receives one byte, the signal number, for each of these signals.

    They no longer interrupt or end the process. Call it in the main thread, once per process.
    """
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, lambda *_: None)
    return reader
