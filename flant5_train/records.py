"""The records of a conversation file: JSON array or JSON lines, read as a stream with their place.

Memory is bounded by the longest record, and the longest record by `MAX_RECORD_BYTES`.
"""

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from flant5_train.failure import FailureCode, TrainingError

MAX_RECORD_BYTES = 16 << 20
_CHUNK_BYTES = 1 << 20
_DECODER = json.JSONDecoder()
_OTHER_ENCODINGS = [
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"PK\x03\x04", "a zip archive"),
]


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


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One JSON value of the file, or the error that stands in its place."""

    place: Place
    value: object = None
    error: DataError | None = None


def read_records(path: Path) -> Iterator[RawRecord]:
    """The records of `path`, in order.

    A JSON line that can't be read becomes a record with its error, since the next line can still
    be read. Raises DataError for what spoils the whole file: nothing in it, another encoding, an
    array that is malformed or cut off.
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


def _first_character(file: BinaryIO, *, name: str) -> bytes:
    """The first byte that is not white space; the file is left after a byte order mark."""
    head = file.read(4)
    for mark, encoding in _OTHER_ENCODINGS:
        if head.startswith(mark):
            raise DataError(f"{name}: this is {encoding}; expected JSON text in UTF-8")
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
    record = 0
    line = 0
    while raw := file.readline(MAX_RECORD_BYTES + 1):
        line += 1
        if not raw.strip():
            continue
        record += 1
        place = Place(name, record, line)
        if len(raw) > MAX_RECORD_BYTES:
            _skip_line(file, begun=raw)
            yield RawRecord(place, error=_too_long(place))
            continue
        yield _parse_line(raw, place)


def _skip_line(file: BinaryIO, *, begun: bytes) -> None:
    while begun and not begun.endswith(b"\n"):
        begun = file.readline(_CHUNK_BYTES)


def _parse_line(raw: bytes, place: Place) -> RawRecord:
    try:
        return RawRecord(place, value=json.loads(raw.decode("utf-8")))
    except UnicodeDecodeError as error:
        message = _not_utf8(place, byte=raw[error.start], offset=error.start)
        return RawRecord(place, error=DataError(message, reason="not UTF-8"))
    except (ValueError, RecursionError) as error:
        what = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        message = (
            f"{place}: not valid JSON ({what}); expected a JSON array of conversations, or one"
            " whole JSON object in each line"
        )
        return RawRecord(place, error=DataError(message, reason="not valid JSON"))


def _read_array(file: BinaryIO, *, name: str) -> Iterator[RawRecord]:
    text = _ArrayText(file, name=name)
    text.take("[")
    record = 0
    while text.peek() != "]":
        if record:
            text.take(",")
        record += 1
        yield text.read_value(record)
    text.take("]")
    if text.peek():
        raise DataError(f"{name}: line {text.line}: more text after the array's closing ']'")


class _ArrayText:
    """The text of a JSON array, decoded chunk by chunk; only the part not yet read is kept."""

    def __init__(self, file: BinaryIO, *, name: str) -> None:
        self._file = file
        self._name = name
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._text = ""
        self._at = 0
        self._ended = False
        self._record = 0
        self.line = 1

    def peek(self) -> str:
        """The next character that is not white space; empty at the end of the file."""
        while True:
            rest = self._text[self._at :].lstrip(" \t\r\n")
            self._advance(len(self._text) - len(rest))
            if rest or not self._read(_CHUNK_BYTES):
                return rest[:1]

    def take(self, expected: str) -> None:
        found = self.peek()
        if found != expected:
            what = f"{found!r}" if found else "the end of the file: it was cut off"
            raise DataError(
                f"{self._name}: line {self.line}: expected {expected!r} after record"
                f" {self._record}, found {what}"
            )
        self._advance(self._at + 1)

    def read_value(self, record: int) -> RawRecord:
        """The JSON value that begins at the next character."""
        self.peek()
        self._record = record
        place = Place(self._name, record, self.line)
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                # Either malformed or not read to its end: only more text can tell.
                if len(self._text) - self._at > MAX_RECORD_BYTES:
                    raise _too_long(place) from error
                if self._read(max(_CHUNK_BYTES, len(self._text) - self._at)):
                    continue
                raise self._malformed(place, error) from error
            self._advance(end)
            return RawRecord(place, value=value)

    def _malformed(self, place: Place, error: ValueError | RecursionError) -> DataError:
        if not isinstance(error, json.JSONDecodeError):
            return DataError(f"{place}: not valid JSON ({error})")
        if error.pos >= len(self._text.rstrip()) or error.msg.startswith("Unterminated string"):
            return DataError(f"{place}: the file ends inside this record: it was cut off")
        line = self.line + self._text.count("\n", self._at, error.pos)
        return DataError(f"{place}: not valid JSON in line {line}: {error.msg}")

    def _advance(self, position: int) -> None:
        self.line += self._text.count("\n", self._at, position)
        self._at = position

    def _read(self, num_bytes: int) -> bool:
        """Read on; whether there was more."""
        if self._ended:
            return False
        before = self._file.tell()
        chunk = self._file.read(num_bytes)
        self._ended = not chunk
        try:
            more = self._decoder.decode(chunk, final=self._ended)
        except UnicodeDecodeError as error:
            line = self.line + self._text.count("\n", self._at)
            line += error.object[: error.start].count(b"\n")
            offset = before + len(chunk) - len(error.object) + error.start
            place = Place(self._name, self._record + 1, line)
            raise DataError(
                _not_utf8(place, byte=error.object[error.start], offset=offset)
            ) from error
        self._text = self._text[self._at :] + more
        self._at = 0
        return not self._ended


def _too_long(place: Place) -> DataError:
    return DataError(
        f"{place}: the record is longer than {MAX_RECORD_BYTES >> 20} MiB; expected one"
        " conversation",
        reason="record too long",
    )


def _not_utf8(place: Place, *, byte: int, offset: int) -> str:
    return (
        f"{place}: byte 0x{byte:02x} at offset {offset} is not UTF-8; expected the file to be saved"
        " as UTF-8"
    )
