"""Incremental reader of JSON arrays."""

import codecs
import json
import re
from typing import BinaryIO

from flant5_train.data.errors import MAX_RECORD_BYTES, DataError, Place, not_utf8, too_long

_CHUNK_BYTES = 1 << 20
_DECODER = json.JSONDecoder()
_WHITE_SPACE = re.compile(r"[ \t\r\n]*")


class ArrayText:
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
                place=Place(self._name, self._record, self.line),
            )
        self._advance(self._at + 1)

    def read_value(self, record: int) -> tuple[Place, object]:
        """Returns the JSON value at the next character, and its place."""
        self.peek()
        self._record = record
        place = Place(self._name, record, self.line)
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                # Either malformed or incomplete: more text decides.
                if len(self._text) - self._at > MAX_RECORD_BYTES:
                    raise too_long(place) from error
                if self._read(max(_CHUNK_BYTES, len(self._text) - self._at)):
                    continue
                raise self._malformed(place, error) from error
            self._advance(end)
            return place, value

    @property
    def num_bytes_read(self) -> int:
        """Number of bytes read from the file, including buffered text."""
        return self._file.tell()

    def _malformed(self, place: Place, error: ValueError | RecursionError) -> DataError:
        if not isinstance(error, json.JSONDecodeError):
            return DataError(f"{place}: not valid JSON ({error})", place=place)
        if error.pos >= len(self._text.rstrip()) or error.msg.startswith("Unterminated string"):
            message = f"{place}: the file ends inside this record: it is truncated"
            return DataError(message, place=place)
        line = self.line + self._text.count("\n", self._at, error.pos)
        message = f"{place}: not valid JSON in line {line}: {error.msg}"
        return DataError(message, place=place)

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
            place=Place(self._name, self._record + 1, line),
        )
