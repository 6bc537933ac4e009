"""The form of a rule: the effect of one argument, or its refusal.

`docs/trainer-arguments.md` shows all rules; a test compares them with the fields of the argument
classes, so that a new version of transformers can't add one that nobody looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """One argument. The default of its field always passes."""

    note: str
    """The effect, or why every other value than the default is refused and what to use instead."""
    is_honoured: bool = True
    values: tuple[str, ...] = ()
    """Values that are taken beside the default, as they are written; none named: any."""
    changes_result: bool = False
    """True when another value gives another model, so that it must not resume a checkpoint."""
    is_secret: bool = False


Rules = Mapping[str, Rule]


def honoured(note: str, *values: str) -> Rule:
    return Rule(note, values=values)


def result(note: str, *values: str) -> Rule:
    """As `honoured`, for an argument that the trained weights depend on."""
    return Rule(note, values=values, changes_result=True)


def refused(note: str, *values: str, is_secret: bool = False) -> Rule:
    """`values` mean the same as the default."""
    return Rule(note, is_honoured=False, values=values, is_secret=is_secret)
