"""Multipart forms that are cut, bent, or of another shape than a file's."""

from collections.abc import Iterator, Mapping
from itertools import product

from tests.security.corpus.values import TEXTS
from tests.security.malformed import Malformed
from tests.security.victim import Victim

_FILES = "/v1/files"
_BOUNDARY = "xBOUNDARYx"
_TYPE = f"multipart/form-data; boundary={_BOUNDARY}"
_CONTENT = b'{"messages": []}\n'
_PURPOSE = (b'name="purpose"', b"assistants")
_FILE = (b'name="file"; filename="a.jsonl"', _CONTENT)
_DISPOSITIONS = (
    b"",
    b"name",
    b"name=",
    b"name=file",
    b'name="file',
    b'name="file"; filename',
    b'name="file"; filename=',
    b'name="file"; filename="',
    b'name="file"; filename=""',
    b'name="file"; filename="a"; filename="b"',
    b"name=\"file\"; filename*=utf-8''%ff%fe",
    b"name=\"file\"; filename*=utf-7''a",
    b"name=\"file\"; filename*=''",
    b"name=\"file\"; filename*=bogus''%41",
    b"name=\"file\"; filename*=utf-8''" + b"%41" * 2000,
    b'name="file"; filename="' + b"a" * 70_000 + b'"',
    b'name="file"; filename="a\\"b"',
    b'name="file"; filename="\xff\xfe"',
    b'name="file"; filename="a\x00b"',
    b'name="file"; filename="a\x1b[2Jb"',
    b'name="file"; filename="../../../../tmp/x"',
    b'name="file"; filename="/etc/passwd"',
    b'name="file"; filename="..\\..\\x"',
    b'name="file"; filename="<img src=x onerror=alert(1)>"',
    b'name="file[]"; filename="a"',
    b'name="FILE"; filename="a"',
    b'name="\xff"; filename="a"',
    b'name="file\x00"; filename="a"',
    b'name=""; filename=""',
    b'name="' + b"n" * 70_000 + b'"; filename="a"',
    b';;;; name="file"',
    b'name="file"; filename="a"; ' + b"x=y; " * 3000,
)
_TYPES = (
    "multipart/form-data",
    "multipart/form-data; boundary=",
    'multipart/form-data; boundary=""',
    'multipart/form-data; boundary="',
    "multipart/form-data; boundary=other",
    "multipart/form-data; boundary=" + "b" * 10_000,
    "multipart/form-data; boundary=\xff\xfe",
    "multipart/form-data; boundary=a b",
    "multipart/form-data; boundary=x; boundary=y",
    "multipart/mixed; boundary=" + _BOUNDARY,
    f"multipart/form-data; boundary={_BOUNDARY}; charset=utf-16",
    f"multipart/form-data; boundary={_BOUNDARY}; charset=bogus",
    f"multipart/form-data; boundary={_BOUNDARY}; charset=idna",
    "application/x-www-form-urlencoded",
    "application/x-www-form-urlencoded; charset=bogus",
    "application/json",
    "text/plain",
    "",
)


def forms(victim: Victim) -> Iterator[Malformed]:
    """Sent to both paths that take forms. None is complete: the purpose is wrong, the file is not
    there, or the end is missing."""
    part_path = f"/v1/uploads/{victim.upload_id}/parts"
    whole = _form(_PURPOSE, _FILE)
    for end in range(len(whole)):
        yield _sent(_FILES, whole[:end])
    for at, byte in product(range(0, len(whole), 2), b"\x00\x0a\x0d\x22\x2d\x3b\xff"):
        yield _sent(_FILES, whole[:at] + bytes([byte]) + whole[at + 1 :])
    yield from _cut_with_a_right_purpose()
    for disposition in _DISPOSITIONS:
        yield _sent(_FILES, _form((disposition, _CONTENT), _PURPOSE))
        yield _sent(part_path, _form((disposition, b"more than ten bytes")))
    for text in TEXTS:
        written = text.encode("utf-8", "surrogatepass")
        yield _sent(_FILES, _form((b'name="purpose"', written), _FILE))
        yield _sent(_FILES, _form((b'name="purpose"', written)))
        yield _sent(part_path, _form((b'name="data"', written)))
        named = b'name="data"; filename="' + written.replace(b"\n", b" ") + b'"'
        yield _sent(part_path, _form((named, b"more than ten bytes")))
    for media_type, body in product(_TYPES, (whole, b"", b"purpose=fine-tune&file=a", b"\xff" * 9)):
        for path in (_FILES, part_path):
            yield Malformed("POST", path, {"Content-Type": media_type}, body)
    yield from _many_parts()


def _cut_with_a_right_purpose() -> Iterator[Malformed]:
    """All is right, but it ends too early: half a file must not become one."""
    form = _form((b'name="purpose"', b"fine-tune"), _FILE)
    last_boundary = form.rindex(f"--{_BOUNDARY}".encode())
    for end in range(form.index(_CONTENT), last_boundary + len(_BOUNDARY) + 2):
        yield _sent(_FILES, form[:end])


def _many_parts() -> Iterator[Malformed]:
    for count in (1001, 5000):
        yield _sent(_FILES, _form(*[(b'name="x"', b"y")] * count))
        yield _sent(_FILES, _form(*[(b'name="file"; filename="a"', b"y")] * count))
    yield _sent(_FILES, _form((b'name="purpose"', b"p" * 2_000_000), _FILE))
    yield _sent(_FILES, _form((b'name="file"', _CONTENT), _PURPOSE))
    yield _sent(_FILES, _form(_FILE))
    yield _sent(_FILES, _form(_PURPOSE))
    headers = b"".join(b"X-%d: y\r\n" % number for number in range(2000))
    yield _sent(_FILES, f"--{_BOUNDARY}\r\n".encode() + headers + _form(_FILE))
    yield _sent(_FILES, f"--{_BOUNDARY}\r\nX: {'y' * 100_000}\r\n".encode() + _form(_FILE))
    for name in ("expires_after[anchor]", "expires_after[seconds]", "expires_after"):
        yield _sent(_FILES, _form((f'name="{name}"'.encode(), b"created_at"), _PURPOSE, _FILE))


def _form(*parts: tuple[bytes, bytes]) -> bytes:
    written = (
        f"--{_BOUNDARY}\r\nContent-Disposition: form-data; ".encode()
        + disposition
        + b"\r\n\r\n"
        + content
        + b"\r\n"
        for disposition, content in parts
    )
    return b"".join(written) + f"--{_BOUNDARY}--\r\n".encode()


def _sent(path: str, body: bytes) -> Malformed:
    return Malformed("POST", path, {"Content-Type": _TYPE}, body)


def file_form(filename: bytes, content: bytes) -> tuple[Mapping[str, str], bytes]:
    """Headers and body of an upload that is taken."""
    file = (b'name="file"; filename="' + filename + b'"', content)
    return {"Content-Type": _TYPE}, _form((b'name="purpose"', b"fine-tune"), file)
