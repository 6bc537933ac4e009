"""Places in a conversation file, and errors that name them."""

from dataclasses import dataclass

from flant5_train.failure import FailureCode, TrainingError

MAX_RECORD_BYTES = 16 << 20
"""A longer record is refused: it is no conversation, and it would have to be held in memory."""


class DataError(TrainingError):
    """A file that can't be used; the message says what was found, where, and what was expected."""

    def __init__(self, message: str, *, reason: str = "unusable file") -> None:
        super().__init__(FailureCode.BAD_DATA, message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a file; `record` and `line` count from 1."""

    file: str
    record: int
    line: int | None = None

    def __str__(self) -> str:
        line = "" if self.line is None else f" (line {self.line})"
        return f"{self.file}: record {self.record}{line}"


def too_long(place: Place) -> DataError:
    """The error for a record over the limit."""
    return DataError(
        f"{place}: the record is longer than {MAX_RECORD_BYTES >> 20} MiB; expected one"
        " conversation",
        reason="record too long",
    )


def not_utf8(place: object, *, byte: int, offset: int) -> str:
    """The message for a byte that is not text; `place` is put in front."""
    return (
        f"{place}: byte 0x{byte:02x} at offset {offset} is not UTF-8; expected the file to be saved"
        " as UTF-8"
    )
