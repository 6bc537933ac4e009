"""Finds exact duplicates of conversations in bounded memory.

Each conversation adds 32 bytes (a hash and its place) to one of 64 temporary files, chosen by the
hash. Duplicates end up in the same file, and only one file is searched at a time. Small files stay
in memory.
"""

import hashlib
import heapq
import struct
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import NamedTuple, Self

from flant5_train.data.errors import SourceLocation
from flant5_train.protocol.file_report import MAX_LISTED, Repeat, Repeats
from flant5_train.protocol.turns import Conversation

_NUM_FILES = 64
_IN_MEMORY_BYTES = 1 << 17
_ENTRY = struct.Struct("<16sQQ")
_NO_LINE = 0


class _Seen(NamedTuple):
    record: int
    line: int
    first_record: int


class DuplicateFinder:
    """Finder of duplicates; a context manager that closes its temporary files."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._files = [
            self._stack.enter_context(tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES))  # noqa: SIM115
            for _ in range(_NUM_FILES)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def add(self, conversation: Conversation, *, location: SourceLocation) -> None:
        digest = _digest_of(conversation)
        entry = _ENTRY.pack(digest, location.record, location.line or _NO_LINE)
        self._files[digest[0] % _NUM_FILES].write(entry)

    def found(self) -> Repeats:
        """Returns all duplicates so far."""
        num_repeats, num_repeated = 0, 0
        listed: list[_Seen] = []
        for number in range(_NUM_FILES):
            repeats = [*self._repeats_in(number)]
            num_repeats += len(repeats)
            num_repeated += len({repeat.first_record for repeat in repeats})
            listed = heapq.nsmallest(MAX_LISTED, [*listed, *repeats])
        return Repeats(
            num_repeats=num_repeats,
            num_repeated=num_repeated,
            listed=tuple(
                Repeat(record=each.record, line=each.line or None, first_record=each.first_record)
                for each in listed
            ),
        )

    def _repeats_in(self, number: int) -> Iterator[_Seen]:
        file = self._files[number]
        file.seek(0)
        first_of: dict[bytes, int] = {}
        for digest, record, line in _ENTRY.iter_unpack(file.read()):
            first = first_of.setdefault(digest, record)
            if first != record:
                yield _Seen(record, line, first)


def _digest_of(conversation: Conversation) -> bytes:
    """Returns a hash of everything that training uses. It is equal for ShareGPT and chat format."""
    digest = hashlib.blake2b(digest_size=16)
    for turn in conversation.turns:
        text = turn.text.encode()
        digest.update(f"{turn.role}:{turn.is_trained}:{len(text)}:".encode())
        digest.update(text)
    return digest.digest()
