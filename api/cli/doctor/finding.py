"""What a check saw."""

from dataclasses import asdict, dataclass
from enum import StrEnum


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    """The service runs, but not as well or as safely as it should."""
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found; of a problem also what was expected and what to do, most often a command."""

    state: State
    found: str
    expected: str = ""
    remedy: str = ""

    @property
    def is_problem(self) -> bool:
        return self.state in (State.WARNING, State.FAILED)

    def as_document(self) -> dict[str, str]:
        """As `--json` prints it."""
        return asdict(self)


def fine(found: str) -> Finding:
    return Finding(State.OK, found)


def warning(found: str, *, expected: str, remedy: str) -> Finding:
    return Finding(State.WARNING, found, expected=expected, remedy=remedy)


def failed(found: str, *, expected: str, remedy: str) -> Finding:
    return Finding(State.FAILED, found, expected=expected, remedy=remedy)


def not_applicable(why: str) -> Finding:
    return Finding(State.NOT_APPLICABLE, why)
