"""Files that are no conversations. An upload takes them: what a file holds is told by its report,
and by the job that would use it."""

import json
import random
from collections.abc import Iterator, Mapping
from itertools import product

from tests.security.corpus.values import ANY
from tests.security.malformed import dumped, nested

_CHAT = {
    "id": "1",
    "conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}],
}
_MESSAGES = {
    "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
}
_WHOLE = (
    b"",
    b"\n",
    b"[]",
    b"{}",
    b"null",
    b"[null]",
    b"[[]]",
    b"[[[]]]",
    b"[{}]",
    b"[1]",
    b"\xef\xbb\xbf[]",
    b"\xff\xfe[\x00]\x00",
    b"\x00" * 100,
    b"\x1f\x8b\x08\x00" + b"\x00" * 20,
    b"PK\x03\x04" + b"\x00" * 30,
    b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00c__main__\nX\n.",
    b"\x93NUMPY\x01\x00",
    b"<html></html>",
    b"id,conversations\n1,Hi\n",
    b"[" * 100_000,
    b"[{" * 10_000,
    b'["' + b"a" * 1_000_000,
    b'{"conversations": ' + nested(20_000) + b"}\n",
    b"[" + b"{}," * 5000 + b"{}]",
    b"{}\n" * 5000,
    b"\n" * 100_000,
    b"\r\n\r\n{}\r\n",
    b"{}{}",
    b"[{},]",
    b"[{}",
    b'{"a": NaN}\n',
    b'{"a": ' + b"9" * 5000 + b"}\n",
)


def contents() -> Iterator[bytes]:
    """Whole files: of other formats, cut, bent, and with odd values at every place."""
    yield from _WHOLE
    for record in (_CHAT, _MESSAGES):
        line = dumped(record)
        for wrap in (b"%b\n", b"[%b]"):
            yield from (wrap % line[:end] for end in range(0, len(line), 3))
        yield from _with_odd_values(record)
    yield from _mutations(200)


def reported_contents() -> Iterator[bytes]:
    """Some of them, whose reports are asked for: each takes a process."""
    yield from (_WHOLE[number] for number in (0, 2, 7, 11, 12, 15, 19, 21, 22, 31))
    yield dumped({"conversations": [{"from": "human", "value": "\ud800"}]}) + b"\n"
    yield b'{"conversations": [{"from": "human", "value": "\xff"}]}\n'


def _with_odd_values(record: Mapping[str, object]) -> Iterator[bytes]:
    (field,) = (name for name, value in record.items() if isinstance(value, list))
    turns = record[field]
    assert isinstance(turns, list)
    for value in ANY:
        for name in turns[0]:
            bent = [{**turns[0], name: value}, turns[1]]
            yield dumped({**record, field: bent}) + b"\n"
        yield dumped({**record, field: value}) + b"\n"
        yield dumped({**record, field: [value]}) + b"\n"
        yield dumped([record, value])
    for name, value in product(("id", "extra", "\x00", "weight"), (None, {}, "\ud800")):
        yield dumped({**record, name: value}) + b"\n"


def _mutations(count: int) -> Iterator[bytes]:
    chance = random.Random(7)
    lines = "\n".join([json.dumps(_CHAT)] * 3 + [json.dumps(_MESSAGES)]).encode()
    for _ in range(count):
        content = bytearray(lines)
        for _ in range(chance.randrange(1, 8)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        yield bytes(content)
