"""Iterators over the conversations of a file."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from flant5_train.config import OnBadRecord
from flant5_train.data.errors import DataError, RecordProblem, SourceLocation
from flant5_train.data.reader import RawRecord, read_records
from flant5_train.data.record_reader import read_record
from flant5_train.protocol.turns import Conversation


class Warn(Protocol):
    """Callback for a warning about a record."""

    def __call__(self, warning: RecordProblem, /, *, location: SourceLocation) -> object: ...


def ignore(warning: RecordProblem, /, *, location: SourceLocation) -> None:
    """Warning callback that does nothing."""


@dataclass
class ConversationReader:
    """Iterates over the conversations of records.

    `skipped` counts skipped records by reason. `warn` receives each warning about other records.
    Raises DataError for the first malformed record under `OnBadRecord.FAIL`.
    """

    records: Iterable[RawRecord]
    on_bad_record: OnBadRecord = OnBadRecord.FAIL
    warn: Warn = ignore
    skipped: Counter[str] = field(default_factory=Counter)

    def left_out(self) -> Counter[str]:
        """Returns the counts of skipped records, with reasons distinct from those of turns."""
        return Counter({f"record: {reason}": n for reason, n in self.skipped.items()})

    def __iter__(self) -> Iterator[Conversation]:
        self.skipped.clear()
        for record in self.records:
            try:
                if record.error is not None:
                    raise record.error
                reading = read_record(record.value)
                if reading.conversation is None:
                    raise DataError.of(reading.problems[0], location=record.location)
            except DataError as error:
                if self.on_bad_record is OnBadRecord.FAIL:
                    raise
                self.skipped[error.reason] += 1
            else:
                for warning in reading.warnings:
                    self.warn(warning, location=record.location)
                yield reading.conversation


@dataclass(frozen=True, slots=True)
class _RecordsOf:
    path: Path

    def __iter__(self) -> Iterator[RawRecord]:
        return read_records(self.path)


class ConversationFile(ConversationReader):
    """Conversations of a file. Also raises DataError if the file can't be read."""

    def __init__(
        self, path: Path, on_bad_record: OnBadRecord = OnBadRecord.FAIL, warn: Warn = ignore
    ) -> None:
        super().__init__(_RecordsOf(path), on_bad_record, warn)


def parse_conversation(record: object, *, location: SourceLocation) -> Conversation:
    """Returns the conversation of a JSON value. Raises DataError with the place and the field."""
    reading = read_record(record)
    if reading.conversation is None:
        raise DataError.of(reading.problems[0], location=location)
    return reading.conversation
