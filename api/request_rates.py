"""How many requests of a kind one caller may send."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestRates:
    """Requests a minute of one caller; 0 means any number."""

    submits: int = 0
    uploads: int = 0
    others: int = 0
