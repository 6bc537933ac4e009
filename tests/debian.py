"""Debian packages that the tests need, installed as root by one process at a time."""

import fcntl
import os
import tempfile
from pathlib import Path

from tests.commands import run

_LOCK = Path(tempfile.gettempdir()) / f"flant5-test-apt-{os.getuid()}"


def install(*packages: str) -> None:
    """Returns when they are there. apt-get itself gives up where another one is at work."""
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with _LOCK.open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run("apt-get", "update", "-qq", env=quiet)
        options = ("--yes", "-qq", "--no-install-recommends")
        run("apt-get", "install", *options, *packages, env=quiet)
