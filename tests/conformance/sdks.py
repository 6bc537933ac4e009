"""Versions of the SDK, each with an interpreter that has it and nothing of ours."""

import sys
from pathlib import Path

import openai

from tests import environments

REPOSITORY = Path(__file__).parents[2]
OLDER = ("1.109.1", "2.54.0")
VERSIONS = (*OLDER, openai.__version__)


def interpreter_with(version: str) -> Path:
    """Raises AssertionError when it can't be made."""
    if version == openai.__version__:
        return Path(sys.executable)
    return environments.interpreter_with(f"openai=={version}")
