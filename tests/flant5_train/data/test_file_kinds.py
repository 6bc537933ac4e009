"""Files of other kinds are recognised by their content and named with the way on."""

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from flant5_train.check import check_file
from flant5_train.config import OnBadRecord
from flant5_train.data.errors import DataError
from flant5_train.data.reader import MAGIC, kind_of_file

LINE = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'


def zipped(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, LINE)
    return file.getvalue()


CONTENTS: dict[str, tuple[bytes, str, str]] = {
    f"magic {number}": (magic + b"x" * 20, kind.name, kind.way_on)
    for number, (magic, kind) in enumerate(MAGIC)
}
CONTENTS |= {
    "gzip": (gzip.compress(LINE), "gzip-compressed data", "gunzip"),
    "zip": (zipped("data.jsonl"), "a zip archive", "unzip"),
    "workbook": (zipped("[Content_Types].xml"), "an Excel workbook (XLSX)", "read_excel"),
    "tar": (b"data.jsonl".ljust(257, b"\0") + b"ustar\x0000", "a tar archive", "tar xf"),
    "CSV": (b"question,answer\nHi,Yo\n", "a CSV file by its first line", "read_csv"),
    "CSV with a mark": (b"\xef\xbb\xbfid,messages\n1,x\n", "a CSV file", "read_csv"),
    "CSV with quotes": (b'"question","answer"\r\n"Hi","Yo"\r\n', "a CSV file", "read_csv"),
    "CSV with an index": (b",prompt,completion\n0,a,b\n", "a CSV file", "read_csv"),
    "CSV with semicolons": (b"question;answer\nHi;Yo\n", "a CSV file", "sep=';'"),
    "TSV": (b"question\tanswer\nHi\tYo\n", "a TSV file", "sep='\\t'"),
    "HTML": (b"<!DOCTYPE html><title>404</title>", "an HTML or XML page", "downloaded"),
}


@pytest.mark.parametrize("on_bad_record", OnBadRecord)
@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_of_another_kind_is_named_with_the_way_on(
    tmp_path: Path, name: str, on_bad_record: OnBadRecord
) -> None:
    content, kind, way_on = CONTENTS[name]
    path = tmp_path / "talks.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        check_file(path, on_bad_record)
    message = str(caught.value)
    assert message.startswith(f"talks.jsonl: this is {kind}")
    assert "expected JSON text in UTF-8" in message
    assert way_on in message


@pytest.mark.parametrize(
    "content",
    [LINE, b"[" + LINE + b"]", b"\xef\xbb\xbf" + LINE, b"  \n" + LINE, b"", b"hello\nworld", b"x"],
)
def test_json_and_text_of_no_kind_are_left_to_the_reader(content: bytes) -> None:
    assert kind_of_file(content) is None


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b" \n", b"\xef\xbb\xbf\r\n\t"])
@pytest.mark.parametrize("bracket", [b"{", b"["])
def test_json_that_holds_the_mark_of_a_tar_archive_is_json(before: bytes, bracket: bytes) -> None:
    assert kind_of_file((before + bracket + b'"').ljust(257, b"x") + b"ustar") is None


@pytest.mark.parametrize(
    "first", [b"# exported, 2024", b"id,text", b"a\tb", b"a;b", b"\xef\xbb\xbf# a, b\n", b"a,b\n "]
)
def test_json_lines_behind_a_line_with_separators_are_no_table(
    tmp_path: Path, first: bytes
) -> None:
    path = tmp_path / "talks.jsonl"
    path.write_bytes(first + b"\n" + LINE)
    checked = check_file(path, OnBadRecord.SKIP)
    assert (checked.pairs, checked.left_out) == (1, {"record: not valid JSON": 1})
    with pytest.raises(DataError, match=r"record 1 \(line 1\): not valid JSON"):
        check_file(path, OnBadRecord.FAIL)
