"""Recognises files other than JSON by their first bytes, and suggests how to convert them."""

import codecs
import csv
import re
from dataclasses import dataclass

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
