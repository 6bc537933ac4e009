"""Rate limits per caller."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestRates:
    """Maximum requests per minute and caller. 0 disables a limit."""

    submits: int = 0
    uploads: int = 0
    others: int = 0
