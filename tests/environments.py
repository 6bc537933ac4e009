"""Interpreters that have one package, and nothing of ours."""

import fcntl
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[1] / "build" / "environments"
_PIP_SECONDS = 600.0


def interpreter_with(requirement: str) -> Path:
    """The interpreter of an environment that is made once and kept in build/; what says that it is
    whole is written last. Test processes that want the same one wait for each other.

    Raises AssertionError with the words of pip when it can't be made, without an index for one.
    """
    directory = _ROOT / requirement
    python, is_whole = directory / "bin" / "python", directory / "is-whole"
    _ROOT.mkdir(parents=True, exist_ok=True)
    with (_ROOT / f"{requirement}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_whole.exists():
            _run(sys.executable, "-m", "venv", "--clear", str(directory))
            _run(str(python), "-m", "pip", "install", "--quiet", requirement)
            is_whole.touch()
    return python


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_PIP_SECONDS)
    assert done.returncode == 0, f"{' '.join(argv)} failed:\n{done.stdout}\n{done.stderr}"
