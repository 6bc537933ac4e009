"""Suggestions for misspelt names."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str:
    """Returns a hint with the known name most similar to `name`, or ''.

    >>> nearest("learning_rat", ["learning_rate", "seed"])
    "; did you mean 'learning_rate'?"
    """
    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
