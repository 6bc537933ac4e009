"""What is done to the service, and in which order: all of it follows from the seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal[
    "kill api",
    "kill keeper",
    "kill redis",
    "kill worker",
    "kill pool process",
    "kill supervisor",
    "kill torchrun",
    "kill rank",
    "freeze worker",
    "freeze worker and trainer",
    "freeze redis",
    "reset connections",
    "create while api dies",
    "create while redis dies",
    "cancel",
    "cancel with checkpoint",
    "pause",
    "resume",
]

KINDS: tuple[Kind, ...] = get_args(Kind)

_WEIGHTS = [0.4 if kind.startswith("cancel") else 1.0 for kind in KINDS]
"""Else most jobs would be cancelled before much has happened to them."""

PAUSE_SECONDS = (1.5, 3.5)
SHORT_SECONDS = (0.5, 5.0)
LONG_SECONDS = (9.0, 13.0)
"""Longer than a lease of 8 s."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing done to the service."""

    kind: Kind
    pause_seconds: float
    """Between the fault before and this one."""
    choice: float
    """0 to 1: which one of those that there are."""
    seconds: float
    """How long it lasts, if it lasts: a freeze, an absence."""


def plan(seed: int) -> Iterator[Fault]:
    """The faults of a seed, without end."""
    chance = random.Random(seed)
    while True:
        (kind,) = chance.choices(KINDS, weights=_WEIGHTS)
        is_long = kind.startswith("freeze worker") and chance.random() < 0.5
        yield Fault(
            kind=kind,
            pause_seconds=chance.uniform(*PAUSE_SECONDS),
            choice=chance.random(),
            seconds=chance.uniform(*(LONG_SECONDS if is_long else SHORT_SECONDS)),
        )
