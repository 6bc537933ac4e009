"""A separate service with API keys, for example calls."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_FLANT5 = Path(sys.executable).with_name("flant5")
_START_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Service:
    """Address and home of the service, and a key with all scopes."""

    url: str
    """Ends with /v1."""
    home: Path
    key: str


@contextmanager
def running_service(home: Path) -> Iterator[Service]:
    """Yields a service in the empty directory `home`, and stops it at the end.

    Raises RuntimeError if it does not start.
    """
    keys_file = home.with_name("keys")
    scopes = ("--scope", "read", "--scope", "submit", "--scope", "admin")
    made = subprocess.run(
        [_FLANT5, "keys", "create", "alice", *scopes, "--file", keys_file],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    settings = {"FLANT5_API_KEYS_FILE": str(keys_file), "FLANT5_WORKER_NAME": "gpu-0"}
    log = home.with_name("up.log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [_FLANT5, "up", "--home", home, "--port", "0"],
            env=os.environ | settings,
            stdout=output,
            stderr=output,
        )
    try:
        yield Service(url=_url(home, process, log), home=home.resolve(), key=made.stdout.strip())
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=_START_SECONDS)


def _url(home: Path, process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if (home / "up.json").exists():
            return str(json.loads((home / "up.json").read_text(encoding="utf-8"))["url"])
        time.sleep(0.1)
    said = log.read_text(encoding="utf-8", errors="replace")
    raise RuntimeError(f"`flant5 up` is not ready after {_START_SECONDS:g} s, or exited: {said}")
