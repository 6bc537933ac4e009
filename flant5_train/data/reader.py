"""Streaming reader of conversation files: records of a JSON array or JSON lines, with places.

The longest record bounds memory, and `MAX_RECORD_BYTES` bounds the record. Files other than JSON
are recognised by their first bytes, and the error suggests a conversion.
"""

import codecs
import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from flant5_train.data.errors import (
    MAX_RECORD_BYTES,
    DataError,
    SourceLocation,
    not_json,
    not_utf8,
    not_utf8_line,
    too_long,
)

_CHUNK_BYTES = 1 << 20
_DECODER = json.JSONDecoder()
_WHITE_SPACE = re.compile(r"[ \t\r\n]*")


class JsonArrayReader:
    """Text of a JSON array, decoded chunk by chunk. Keeps only the part not yet consumed."""

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
        """Returns the next character other than white space; empty at the end of the file."""
        while True:
            space = _WHITE_SPACE.match(self._text, self._at)
            assert space is not None, "no white space matches too"
            self._advance(space.end())
            if self._at < len(self._text) or not self._read(_CHUNK_BYTES):
                return self._text[self._at : self._at + 1]

    def take(self, expected: str) -> None:
        found = self.peek()
        if found != expected:
            what = f"{found!r}" if found else "the end of the file: it is truncated"
            raise DataError(
                f"{self._name}: line {self.line}: expected {expected!r} after record"
                f" {self._record}, found {what}",
                location=SourceLocation(self._name, self._record, self.line),
            )
        self._advance(self._at + 1)

    def read_value(self, record: int) -> tuple[SourceLocation, object]:
        """Returns the JSON value at the next character, and its place."""
        self.peek()
        self._record = record
        location = SourceLocation(self._name, record, self.line)
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                # Either malformed or incomplete: more text decides.
                if len(self._text) - self._at > MAX_RECORD_BYTES:
                    raise too_long(location) from error
                if self._read(max(_CHUNK_BYTES, len(self._text) - self._at)):
                    continue
                raise self._malformed(location, error) from error
            self._advance(end)
            return location, value

    @property
    def num_bytes_read(self) -> int:
        """Number of bytes read from the file, including buffered text."""
        return self._file.tell()

    def _malformed(self, location: SourceLocation, error: ValueError | RecursionError) -> DataError:
        if not isinstance(error, json.JSONDecodeError):
            return DataError(f"{location}: not valid JSON ({error})", location=location)
        if error.pos >= len(self._text.rstrip()) or error.msg.startswith("Unterminated string"):
            message = f"{location}: the file ends inside this record: it is truncated"
            return DataError(message, location=location)
        line = self.line + self._text.count("\n", self._at, error.pos)
        message = f"{location}: not valid JSON in line {line}: {error.msg}"
        return DataError(message, location=location)

    def _advance(self, position: int) -> None:
        self.line += self._text.count("\n", self._at, position)
        self._at = position

    def _read(self, num_bytes: int) -> bool:
        """Reads more text. Returns False at the end of the file, where positions stay valid."""
        if self._ended:
            return False
        chunk = self._file.read(num_bytes)
        self._ended = not chunk
        try:
            more = self._decoder.decode(chunk, final=self._ended)
        except UnicodeDecodeError as error:
            raise self._not_utf8(error) from error
        if more:
            self._text = self._text[self._at :] + more
            self._at = 0
        return not self._ended

    def _not_utf8(self, error: UnicodeDecodeError) -> DataError:
        # The decoder prepends bytes kept from the previous chunk.
        offset = self._file.tell() - len(error.object) + error.start
        line = self.line + self._text.count("\n", self._at)
        line += error.object[: error.start].count(b"\n")
        return DataError(
            not_utf8(f"{self._name}: line {line}", byte=error.object[error.start], offset=offset),
            location=SourceLocation(self._name, self._record + 1, line),
        )


HEAD_BYTES = 4096
"""Number of bytes needed to recognise a file."""

_PANDAS = "pandas.{read}.to_json('data.jsonl', orient='records', lines=True)"
_UTF8 = "save the file as UTF-8"
_COLUMNS = "with the turns of each record as a list in its field 'messages' or 'conversations'"


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file that can't be read."""

    name: str
    """Name with its article."""
    way_on: str


def _unpack(program: str) -> str:
    return f"unpack it first ({program})"


def _convert(read: str) -> str:
    return f"convert it first ({_PANDAS.format(read=read)})"


_SPREADSHEET = FileKind("an Excel workbook (XLSX)", _convert("read_excel('data.xlsx')"))
_ZIP = FileKind("a zip archive", _unpack("unzip"))

MAGIC: tuple[tuple[bytes, FileKind], ...] = (
    (b"\xff\xfe\x00\x00", FileKind("UTF-32", _UTF8)),
    (b"\x00\x00\xfe\xff", FileKind("UTF-32", _UTF8)),
    (b"\xff\xfe", FileKind("UTF-16", _UTF8)),
    (b"\xfe\xff", FileKind("UTF-16", _UTF8)),
    (b"PAR1", FileKind("a Parquet file", _convert("read_parquet('data.parquet')"))),
    (b"ARROW1", FileKind("an Arrow file", _convert("read_feather('data.arrow')"))),
    (b"FEA1", FileKind("a Feather file", _convert("read_feather('data.feather')"))),
    (b"ORC", FileKind("an ORC file", _convert("read_orc('data.orc')"))),
    (b"Obj\x01", FileKind("an Avro file", "convert it to JSON lines first")),
    (b"\x89HDF", FileKind("an HDF5 file", "convert it to JSON lines first")),
    (b"SQLite format 3\x00", FileKind("an SQLite database", "export it as JSON lines first")),
    (b"\x1f\x8b", FileKind("gzip-compressed data", _unpack("gunzip"))),
    (b"\x28\xb5\x2f\xfd", FileKind("Zstandard-compressed data", _unpack("unzstd"))),
    (b"\xfd7zXZ\x00", FileKind("xz-compressed data", _unpack("unxz"))),
    (b"BZh", FileKind("bzip2-compressed data", _unpack("bunzip2"))),
    (b"7z\xbc\xaf\x27\x1c", FileKind("a 7-Zip archive", _unpack("7z x"))),
    (b"\xd0\xcf\x11\xe0", FileKind("an old Excel or Word file", "save it as JSON lines first")),
    (b"%PDF", FileKind("a PDF document", "write its conversations as JSON lines first")),
)
_TAR_AT, _TAR = 257, b"ustar"
_WORKBOOK = (b"[Content_Types].xml", b"xl/", b"_rels/")


def kind_of_file(head: bytes) -> FileKind | None:
    """Returns the kind of a file by its first `HEAD_BYTES` bytes; None if it may be JSON."""
    if _begins_as_json(head.removeprefix(codecs.BOM_UTF8)):
        return None  # a text may hold "ustar" at the byte where a tar archive has it
    if head.startswith(b"PK\x03\x04"):
        return _SPREADSHEET if head[30:].startswith(_WORKBOOK) else _ZIP
    if head[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR:
        return FileKind("a tar archive", _unpack("tar xf"))
    found = next((kind for magic, kind in MAGIC if head.startswith(magic)), None)
    return found or _kind_of_text(head)


def _begins_as_json(text: bytes) -> bool:
    return text.lstrip()[:1] in (b"[", b"{")


def _kind_of_text(head: bytes) -> FileKind | None:
    text = head.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace").lstrip()
    if re.match(r"<(!doctype|html|\?xml)\b", text, re.IGNORECASE):
        return FileKind("an HTML or XML page", "check where the file was downloaded from")
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines or (len(lines) > 1 and _begins_as_json(lines[1].encode())):
        return None  # JSON lines after another first line: the reader reports that line
    for separator, name, read in (
        ("\t", "a TSV file", "read_csv('data.tsv', sep='\\t')"),
        (",", "a CSV file", "read_csv('data.csv')"),
        (";", "a CSV file", "read_csv('data.csv', sep=';')"),
    ):
        if _is_header(lines[0], separator):
            return FileKind(f"{name} by its first line", f"{_convert(read)}, {_COLUMNS}")
    return None


def _is_header(line: str, separator: str) -> bool:
    """Returns True for a line of two or more distinct column names.

    The first name may be empty, like that of an index column.
    """
    names = next(csv.reader([line], delimiter=separator, strict=False))
    are_names = all(re.fullmatch(r"[\w .:/#()-]{1,64}", name.strip()) for name in names[1:])
    return len(names) > 1 and are_names and len({*names}) == len(names)


@dataclass(frozen=True, slots=True)
class RawRecord:
    """One JSON value of the file, or the error in its place."""

    location: SourceLocation
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
        location = SourceLocation(name, record, line)
        if len(raw) > MAX_RECORD_BYTES:
            _skip_line(file, begun=raw)
            yield RawRecord(location, file.tell(), error=too_long(location))
            continue
        yield _parse_line(raw, location, num_bytes_read=file.tell())


def _skip_line(file: BinaryIO, *, begun: bytes) -> None:
    while begun and not begun.endswith(b"\n"):
        begun = file.readline(_CHUNK_BYTES)


def _parse_line(raw: bytes, location: SourceLocation, *, num_bytes_read: int) -> RawRecord:
    try:
        return RawRecord(location, num_bytes_read, value=json.loads(raw.decode("utf-8")))
    except UnicodeDecodeError as error:
        not_text = not_utf8_line(location, byte=raw[error.start], offset=error.start)
        return RawRecord(location, num_bytes_read, error=not_text)
    except (ValueError, RecursionError) as error:
        what = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        return RawRecord(location, num_bytes_read, error=not_json(location, what))


def _read_array(file: BinaryIO, *, name: str) -> Iterator[RawRecord]:
    text = JsonArrayReader(file, name=name)
    text.take("[")
    record = 0
    while text.peek() != "]":
        if record:
            text.take(",")
        record += 1
        location, value = text.read_value(record)
        yield RawRecord(location, text.num_bytes_read, value=value)
    text.take("]")
    if text.peek():
        message = f"{name}: line {text.line}: more text after the array's closing ']'"
        raise DataError(message, location=SourceLocation(name, record, text.line))
