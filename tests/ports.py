"""Ports for servers of the tests that are started later, and perhaps again at the same place."""

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import IO

_PORTS = (20_000, 30_000)
"""The kernel gives none of these to an outgoing connection: while a server is away its port stays
free, and a client that tries it does not meet itself."""
_LOCKS = Path(tempfile.gettempdir()) / f"flant5-test-ports-{os.getuid()}"
_taken: list[IO[bytes]] = []
# Not the module's own numbers: a training in this process seeds them, in others just the same.
_random = random.SystemRandom()


def free_port() -> int:
    """One where nobody listens, for this process alone until it ends: tests run side by side."""
    _LOCKS.mkdir(exist_ok=True)
    while True:
        port = _random.randrange(*_PORTS)
        lock = (_LOCKS / str(port)).open("wb")
        if _is_ours(lock) and _is_free(port):
            _taken.append(lock)
            return port
        lock.close()


def _is_ours(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
