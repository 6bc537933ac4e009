"""Versions of the SDK, each with an interpreter that has it and nothing of ours."""

import subprocess
import sys
from pathlib import Path

import openai

REPOSITORY = Path(__file__).parents[2]
OLDER = ("1.109.1", "2.54.0")
VERSIONS = (*OLDER, openai.__version__)
_PIP_SECONDS = 600.0


def interpreter_with(version: str) -> Path:
    """An environment is made once and kept in build/; what says that it is whole is written last.

    Raises AssertionError with the words of pip when it can't be made, without an index for one.
    """
    if version == openai.__version__:
        return Path(sys.executable)
    directory = REPOSITORY / "build" / "sdk" / f"openai-{version}"
    python, is_whole = directory / "bin" / "python", directory / "is-whole"
    if not is_whole.exists():
        _run(sys.executable, "-m", "venv", "--clear", str(directory))
        _run(str(python), "-m", "pip", "install", "--quiet", f"openai=={version}")
        is_whole.touch()
    return python


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_PIP_SECONDS)
    assert done.returncode == 0, f"{' '.join(argv)} failed:\n{done.stdout}\n{done.stderr}"
