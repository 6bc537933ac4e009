"""Bodies that are not the JSON they say they are."""

import random
from collections.abc import Iterator
from itertools import product

from tests.security.malformed import JSON, Malformed, dumped, nested
from tests.security.victim import Victim

_PATHS = ("/v1/fine_tuning/jobs", "/v1/uploads", "/v1/fine_tuning/jobs/plan")
_SPEC = dumped(
    {
        "model": "no-such-model",
        "training_file": "no-such-file.json",
        "suffix": "été",
        "seed": 7,
        "metadata": {"team": "a", "note": "\n"},
        "hyperparameters": {"num_train_epochs": 1.5, "bf16": False, "n_epochs": "auto"},
    }
)
_MEDIA_TYPES = (
    "",
    "application/json; charset=utf-7",
    "application/json; charset=utf-16",
    'application/json; charset="',
    "application/json;;;",
    "application/jsonp",
    "application/x-www-form-urlencoded",
    "application/xml",
    "multipart/form-data",
    "multipart/form-data; boundary=",
    "multipart/form-data; boundary=" + "b" * 5000,
    "text/plain",
    "text/html",
    "*/*",
    "/",
    "json",
    "application/json, application/json",
    "application/" + "j" * 9000,
    "application/json; \xff\xfe",
)
_ENCODINGS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "utf-7", "cp037")
_DEPTHS = (50, 500, 995, 1000, 5000, 50_000, 400_000)
_NOT_OBJECTS = (
    b"",
    b" ",
    b"null",
    b"true",
    b"0",
    b"-",
    b"NaN",
    b"Infinity",
    b'"text"',
    b'"',
    b"[]",
    b"[{}]",
    b"{",
    b"}",
    b"{]",
    b"{}{}",
    b"{} ,",
    b"{,}",
    b'{"model"}',
    b'{"model":}',
    b'{"model":"a",}',
    b"{'model':'a'}",
    b'{"model":"a" "seed":1}',
    b'{"model":"\\x41"}',
    b'{"model":"\\u12"}',
    b'{"model":"\\ud800"}',
    b'{"model":"a\nb"}',
    b'{"seed":01}',
    b'{"seed":+1}',
    b'{"seed":1.}',
    b'{"seed":.5}',
    b'{"seed":1e}',
    b'{"seed":1e400}',
    b'{"seed":' + b"9" * 5000 + b"}",
    b'{"seed":-' + b"9" * 100_000 + b"}",
    b'{"seed":1' + b"0" * 4299 + b"}",
    b'{"seed":1e' + b"9" * 5000 + b"}",
    b"/* c */ {}",
    b"{} // c",
    b"\xef\xbb\xbf{}",
    b"\x00",
    b"\x00" * 1000,
    b"\xff\xfe{\x00}\x00",
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    b"PK\x03\x04",
    b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00c",
    b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
    b"model=a&training_file=b",
    b"--b\r\n\r\n\r\n--b--",
    b'{"model": "a", "model": "b", "model": {"c": 1}}',
    b"{" + b'"a":1,' * 30_000 + b'"a":1}',
    b'{"' + b"k" * 900_000 + b'":1}',
    b'{"metadata":' * 20_000,
    b" " * 1_000_000,
)


def bodies(victim: Victim) -> Iterator[Malformed]:
    """Cut, bent, re-encoded and nested."""
    for path in _PATHS:
        for end in range(len(_SPEC)):
            yield _sent(path, _SPEC[:end])
        for at, byte in product(range(0, len(_SPEC), 3), b"\x00\x0a\x22\x5c\x7b\x80\xff"):
            yield _sent(path, _SPEC[:at] + bytes([byte]) + _SPEC[at + 1 :])
        for body in (*_NOT_OBJECTS, *_nestings()):
            yield _sent(path, body)
        for encoding in _ENCODINGS:
            yield _sent(path, _SPEC.decode().encode(encoding))
        for media_type in _MEDIA_TYPES:
            yield Malformed("POST", path, {"Content-Type": media_type}, _SPEC)
    for body in _mutations(900):
        yield _sent(_PATHS[0], body)


def _sent(path: str, body: bytes) -> Malformed:
    return Malformed("POST", path, JSON, body)


def _nestings() -> Iterator[bytes]:
    for depth in _DEPTHS:
        yield nested(depth)
        yield b'{"metadata":' + nested(depth) + b"}"
        yield nested(depth // 5, opening='{"a":', closing="}")
        yield b"[" * depth


def _mutations(count: int) -> Iterator[bytes]:
    """Each with a few bytes lost, doubled, moved or changed."""
    chance = random.Random(6)
    for _ in range(count):
        body = bytearray(_SPEC)
        for _ in range(chance.randrange(1, 6)):
            start = chance.randrange(len(body))
            piece = body[start : start + chance.randrange(1, 12)]
            match chance.randrange(4):
                case 0:
                    del body[start : start + len(piece)]
                case 1:
                    body[start:start] = piece * chance.randrange(1, 4)
                case 2:
                    target = chance.randrange(len(body))
                    body[target:target] = piece
                case _:
                    body[start : start + len(piece)] = chance.randbytes(len(piece))
        yield bytes(body)
