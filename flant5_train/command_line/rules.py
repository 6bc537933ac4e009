"""Rule for one argument of the trainer: its effect, or its refusal.

`docs/trainer-arguments.md` lists all rules. A test compares them with the fields of the argument
classes. Without it, a new version of transformers could add one unnoticed.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """Rule for one argument. The default of its field always passes."""

    note: str
    """The effect, or the reason why all values except the default are refused, and what to use
    instead."""
    is_honoured: bool = True
    values: tuple[str, ...] = ()
    """Values accepted besides the default, as written by the user; empty means any."""
    changes_result: bool = False
    """True if another value gives another model. It must then not resume a checkpoint."""
    is_secret: bool = False


Rules = Mapping[str, Rule]


def honoured(note: str, *values: str) -> Rule:
    return Rule(note, values=values)


def result(note: str, *values: str) -> Rule:
    """Like `honoured`, for an argument that affects the trained weights."""
    return Rule(note, values=values, changes_result=True)


def refused(note: str, *values: str, is_secret: bool = False) -> Rule:
    """Returns the rule of a refused argument. `values` are accepted, since they mean the same as
    the default."""
    return Rule(note, is_honoured=False, values=values, is_secret=is_secret)
