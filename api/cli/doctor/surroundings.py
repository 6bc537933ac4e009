"""Where the doctor itself runs."""

from pathlib import Path

_MARKS = (".dockerenv", "run/.containerenv")


def is_container(root: Path = Path("/")) -> bool:
    """Whether this is a container of Docker or Podman: each leaves a file of its own."""
    return any((root / mark).exists() for mark in _MARKS)
