"""Streaming reader of conversation files: records of a JSON array or JSON lines, with places.

The longest record bounds memory, and `MAX_RECORD_BYTES` bounds the record.
"""

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from flant5_train.data.errors import (
    MAX_RECORD_BYTES,
    DataError,
    Place,
    not_json,
    not_utf8_line,
    too_long,
)
from flant5_train.file_kinds import HEAD_BYTES, kind_of_file
from flant5_train.json_array import ArrayText

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One JSON value of the file, or the error in its place."""

    place: Place
    num_bytes_read: int
    """Bytes of the file read so far, in whole chunks."""
    value: object = None
    error: DataError | None = None


@dataclass(frozen=True, slots=True)
class RecordBlock:
    """Consecutive records, about one chunk of the file."""

    records: tuple[RawRecord, ...]

    @property
    def num_bytes_read(self) -> int:
        return self.records[-1].num_bytes_read


def read_records(path: Path) -> Iterator[RawRecord]:
    """Yields the records of `path`, in order.

    An unreadable JSON line becomes a record with an error, because later lines are readable. Raises
    DataError for an empty file, another file format, and a malformed or truncated array.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path.name}: can't be opened: {error.strerror}") from error
    with file:
        if _first_character(file, name=path.name) == b"[":
            yield from _read_array(file, name=path.name)
        else:
            yield from _read_lines(file, name=path.name)


def read_blocks(path: Path) -> Iterator[RecordBlock]:
    """Yields the records of `read_records` in blocks, which depend on the file only.

    Raises DataError like `read_records`, after the records before the problem.
    """
    records: list[RawRecord] = []
    begins_at = 0
    try:
        for record in read_records(path):
            if records and record.num_bytes_read >= begins_at + _CHUNK_BYTES:
                yield RecordBlock(tuple(records))
                records = []
            if not records:
                begins_at = record.num_bytes_read
            records.append(record)
    except DataError:
        if records:
            yield RecordBlock(tuple(records))
        raise
    if records:
        yield RecordBlock(tuple(records))


def _first_character(file: BinaryIO, *, name: str) -> bytes:
    """Returns the first byte other than white space; seeks after a byte order mark."""
    head = file.read(HEAD_BYTES)
    if kind := kind_of_file(head):
        expected = "JSON text in UTF-8: an array of conversations, or one in each line"
        raise DataError(f"{name}: this is {kind.name}; expected {expected}; {kind.way_on}")
    start = len(codecs.BOM_UTF8) if head.startswith(codecs.BOM_UTF8) else 0
    file.seek(start)
    while chunk := file.read(_CHUNK_BYTES):
        if text := chunk.lstrip():
            file.seek(start)
            return text[:1]
    raise DataError(
        f"{name}: the file is empty; expected a JSON array of conversations or one JSON object a"
        " line"
    )


def _read_lines(file: BinaryIO, *, name: str) -> Iterator[RawRecord]:
    record = line = 0
    while raw := file.readline(MAX_RECORD_BYTES + 1):
        line += 1
        if not raw.strip():
            continue
        record += 1
        place = Place(name, record, line)
        if len(raw) > MAX_RECORD_BYTES:
            _skip_line(file, begun=raw)
            yield RawRecord(place, file.tell(), error=too_long(place))
            continue
        yield _parse_line(raw, place, num_bytes_read=file.tell())


def _skip_line(file: BinaryIO, *, begun: bytes) -> None:
    while begun and not begun.endswith(b"\n"):
        begun = file.readline(_CHUNK_BYTES)


def _parse_line(raw: bytes, place: Place, *, num_bytes_read: int) -> RawRecord:
    try:
        return RawRecord(place, num_bytes_read, value=json.loads(raw.decode("utf-8")))
    except UnicodeDecodeError as error:
        not_text = not_utf8_line(place, byte=raw[error.start], offset=error.start)
        return RawRecord(place, num_bytes_read, error=not_text)
    except (ValueError, RecursionError) as error:
        what = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        return RawRecord(place, num_bytes_read, error=not_json(place, what))


def _read_array(file: BinaryIO, *, name: str) -> Iterator[RawRecord]:
    text = ArrayText(file, name=name)
    text.take("[")
    record = 0
    while text.peek() != "]":
        if record:
            text.take(",")
        record += 1
        place, value = text.read_value(record)
        yield RawRecord(place, text.num_bytes_read, value=value)
    text.take("]")
    if text.peek():
        message = f"{name}: line {text.line}: more text after the array's closing ']'"
        raise DataError(message, place=Place(name, record, text.line))
