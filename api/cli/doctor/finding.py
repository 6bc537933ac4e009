"""Results of checks."""

from dataclasses import asdict, dataclass
from enum import StrEnum


class State(StrEnum):
    """Outcome of a check."""

    OK = "ok"
    WARNING = "warning"
    """The service runs, but below the expected quality or safety."""
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class Finding:
    """Result of a check. Problems have an expected value and a remedy, usually a command."""

    state: State
    found: str
    expected: str = ""
    remedy: str = ""

    @property
    def is_problem(self) -> bool:
        return self.state in (State.WARNING, State.FAILED)

    def as_document(self) -> dict[str, str]:
        """Returns the document for `--json`."""
        return asdict(self)


def fine(found: str) -> Finding:
    return Finding(State.OK, found)


def warning(found: str, *, expected: str, remedy: str) -> Finding:
    return Finding(State.WARNING, found, expected=expected, remedy=remedy)


def failed(found: str, *, expected: str, remedy: str) -> Finding:
    return Finding(State.FAILED, found, expected=expected, remedy=remedy)


def not_applicable(why: str) -> Finding:
    return Finding(State.NOT_APPLICABLE, why)
