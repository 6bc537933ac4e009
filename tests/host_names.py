"""Hosts whose names resolve to nothing or to something wrong: a namespace for one command."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

UNRESOLVABLE = "gpu-box-nowhere.invalid"


def on_host_called(
    name: str, argv: Sequence[str], *, hosts_file: Path | None = None
) -> tuple[str, ...]:
    """The command that runs `argv` on a host of this name, with another /etc/hosts if given.

    Skips the test where namespaces are not permitted.
    """
    bind = "" if hosts_file is None else f"mount --bind '{hosts_file}' /etc/hosts && "
    enter = ("unshare", "--uts", "--mount", "sh", "-c")
    script = f'hostname "$0" && {bind}exec "$@"'
    tried = subprocess.run([*enter, script, name, "true"], capture_output=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"a host name of its own is not permitted here: {tried.stderr.decode()}")
    return (*enter, script, name, *argv)
