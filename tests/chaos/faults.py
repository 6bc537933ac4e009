"""What is done to the service, and in which order: all of it follows from the seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Literal, get_args

Kind = Literal[
    "kill api",
    "kill controller",
    "kill redis",
    "roll redis back",
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
ROLLBACK_SECONDS = 10.0
"""Age of the state to which Redis is rolled back, as by a failover to a replica that was behind."""
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


def plan(seed: int, *, rollbacks: frozenset[int] = frozenset()) -> Iterator[Fault]:
    """The faults of a seed, without end; those at the places `rollbacks` roll Redis back."""
    chance = random.Random(seed)
    for place in count():
        (kind,) = chance.choices(KINDS, weights=_WEIGHTS)
        kind = "roll redis back" if place in rollbacks else kind
        is_long = kind.startswith("freeze worker") and chance.random() < 0.5
        yield Fault(
            kind=kind,
            pause_seconds=chance.uniform(*PAUSE_SECONDS),
            choice=chance.random(),
            seconds=chance.uniform(*(LONG_SECONDS if is_long else SHORT_SECONDS)),
        )


def places_of_rollbacks(seed: int, *, num_rollbacks: int, num_faults: int) -> frozenset[int]:
    """Spread at random among the first `num_faults` faults."""
    chance = random.Random(f"rollbacks {seed}")
    return frozenset(chance.sample(range(num_faults), num_rollbacks))
