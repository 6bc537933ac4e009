"""Places in a conversation file, and data errors that name them."""

from collections import Counter
from dataclasses import dataclass

from flant5_train.protocol.failure import FailureCode, TrainingError

MAX_RECORD_BYTES = 16 << 20
"""Maximum size of a record, which is held in memory. Longer records are refused."""


@dataclass(frozen=True, slots=True)
class SourceLocation:
    """Position in a file; `record` and `line` count from 1."""

    file: str
    record: int
    line: int | None = None

    def __str__(self) -> str:
        line = "" if self.line is None else f" (line {self.line})"
        return f"{self.file}: record {self.record}{line}"


@dataclass(frozen=True, slots=True)
class RecordProblem:
    """A problem of a record."""

    reason: str
    """Kind of problem, used to count problems."""
    found: str
    expected: str | None
    """None if `found` needs no hint."""
    field: str | None = None
    """Field of the record, such as `messages[1].content`."""

    def __str__(self) -> str:
        field = "" if self.field is None else f"field '{self.field}': "
        expected = "" if self.expected is None else f"; expected {self.expected}"
        return f"{field}found {self.found}{expected}"


class DataError(TrainingError):
    """An unusable file. The message names the place, the found and the expected value."""

    def __init__(
        self,
        message: str,
        *,
        reason: str = "unusable file",
        location: SourceLocation | None = None,
        problem: RecordProblem | None = None,
    ) -> None:
        super().__init__(FailureCode.BAD_DATA, message)
        self.reason = reason if problem is None else problem.reason
        self.location = location
        """Place of the problem, if known."""
        self.problem = problem
        """Structured form of the message, if it concerns one record."""

    @classmethod
    def of(cls, problem: RecordProblem, *, location: SourceLocation) -> "DataError":
        return cls(f"{location}: {problem}", location=location, problem=problem)


def too_long(location: SourceLocation) -> DataError:
    """Returns the error for a record over the size limit."""
    limit, expected = f"longer than {MAX_RECORD_BYTES >> 20} MiB", "one conversation"
    return DataError(
        f"{location}: the record is {limit}; expected {expected}",
        location=location,
        problem=RecordProblem("record too long", f"a record {limit}", expected),
    )


def not_json(location: SourceLocation, what: str) -> DataError:
    """Returns the error for a line that can't be parsed."""
    found = f"not valid JSON ({what})"
    expected = "a JSON array of conversations, or one whole JSON object in each line"
    return DataError(
        f"{location}: {found}; expected {expected}",
        location=location,
        problem=RecordProblem("not valid JSON", f"text that is {found}", expected),
    )


def not_utf8_line(location: SourceLocation, *, byte: int, offset: int) -> DataError:
    """Returns the error for a line that is not UTF-8."""
    found = f"byte 0x{byte:02x} at offset {offset}"
    return DataError(
        not_utf8(location, byte=byte, offset=offset),
        location=location,
        problem=RecordProblem("not UTF-8", f"{found}, which is not UTF-8", "text saved as UTF-8"),
    )


def not_utf8(place: object, *, byte: int, offset: int) -> str:
    """Returns the message for a byte that is not UTF-8, prefixed with `place`."""
    return (
        f"{place}: byte 0x{byte:02x} at offset {offset} is not UTF-8; expected the file to be saved"
        " as UTF-8"
    )


def nothing_to_train_on(name: str, conversations: int, left_out: Counter[str]) -> DataError:
    """Returns the error for a file without a single pair."""
    reasons = ", ".join(f"{count} x {reason}" for reason, count in left_out.most_common())
    return DataError(
        f"{name}: {conversations} conversations, but no pair of a question and an answer"
        f" ({reasons or 'no turns'}); expected at least one answered human turn"
    )
