"""Encoded conversation file: flat arrays on disk that any number of processes map.

    tokens.bin       every id of the file, uint16 (uint32 for big vocabularies) [num_tokens]
    spans.bin        int64 [num_pairs, 5]: PairSpan and the number of its conversation
    manifest.json    counts; written last: its existence means complete

All processes of a machine share one copy of the mapped pages. The kernel reclaims them when memory
is short.
"""

import fcntl
import json
import os
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from flant5_train.data.encoding import Ids
from flant5_train.encoding import EncodedBatch

LAYOUT_VERSION = 1
"""Increment it when the format of the files or the manifest changes. Older files are encoded again,
and runs that used them can be resumed."""
MANIFEST = "manifest.json"
_TOKENS = "tokens.bin"
_SPANS = "spans.bin"
_SPAN_FIELDS = 5


@dataclass(frozen=True, slots=True)
class Manifest:
    """Counts of an encoded file."""

    num_conversations: int
    num_pairs: int
    num_tokens: int
    token_type: str
    left_out: dict[str, int]
    warnings: dict[str, int]


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """Encoded conversation file with memory-mapped arrays."""

    manifest: Manifest
    tokens: Ids
    """[num_tokens]"""
    spans: NDArray[np.int64]
    """[num_pairs, 5]: start, header_end, answer_start, answer_end, conversation"""


def open_encoded(directory: Path) -> EncodedFile:
    """Maps the arrays, and holds a shared lock on the tokens while they are mapped.

    Raises FileNotFoundError if the directory is incomplete.
    """
    with (directory / _TOKENS).open("rb") as file:
        # The map duplicates the descriptor of this open file, which keeps the lock.
        fcntl.flock(file, fcntl.LOCK_SH)
        text = (directory / MANIFEST).read_text(encoding="utf-8")
        manifest = Manifest(**json.loads(text))
        tokens = np.memmap(file, dtype=manifest.token_type, mode="r")
    shape = (manifest.num_pairs, _SPAN_FIELDS)
    spans = np.memmap(directory / _SPANS, dtype=np.int64, mode="r", shape=shape)
    return EncodedFile(manifest, tokens, spans)


class EncodedFileWriter:
    """Writes batch after batch; keeps only counts in memory."""

    def __init__(self, directory: Path, *, token_type: str) -> None:
        directory.mkdir(parents=True)
        self._directory = directory
        self._token_type = token_type
        self._tokens = (directory / _TOKENS).open("wb")
        self._spans = (directory / _SPANS).open("wb")
        self._left_out: Counter[str] = Counter()
        self._warnings: Counter[str] = Counter()
        self._num_pairs = self._num_tokens = 0
        self.num_conversations = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tokens.close()
        self._spans.close()

    def append(self, batch: EncodedBatch) -> None:
        """Appends the pairs of the next conversations of the file."""
        spans = np.array(batch.spans, dtype=np.int64).reshape(-1, _SPAN_FIELDS - 1)
        numbers = np.repeat(np.arange(batch.num_conversations), batch.num_pairs_of)
        rows = [spans + self._num_tokens, numbers + self.num_conversations]
        self._spans.write(np.column_stack(rows).astype(np.int64).tobytes())
        self._tokens.write(batch.tokens.astype(self._token_type, copy=False).tobytes())
        self._left_out += batch.left_out
        self._warnings += batch.warnings
        self._num_pairs += len(spans)
        self._num_tokens += len(batch.tokens)
        self.num_conversations += batch.num_conversations

    @property
    def manifest(self) -> Manifest:
        """The counts so far."""
        return Manifest(
            num_conversations=self.num_conversations,
            num_pairs=self._num_pairs,
            num_tokens=self._num_tokens,
            token_type=self._token_type,
            left_out=dict(self._left_out),
            warnings=dict(self._warnings),
        )


def complete(directory: Path, manifest: Manifest) -> None:
    """Marks the output of a closed writer as complete: writes the manifest."""
    draft = (directory / MANIFEST).with_suffix(".draft")
    draft.write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")
    os.replace(draft, directory / MANIFEST)
