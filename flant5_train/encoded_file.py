"""A conversation file, encoded: flat arrays on disk that any number of processes map.

    tokens.bin       every id of the file, uint16 (uint32 for big vocabularies) [num_tokens]
    spans.bin        int64 [num_pairs, 5]: PairSpan and the number of its conversation
    manifest.json    counts; written last, so that its existence means complete

The pages of a map are the kernel's, one copy for all processes of a machine, and it takes them back
when memory is short.
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

from flant5_train.encoder import Ids
from flant5_train.encoding import EncodedBatch

LAYOUT_VERSION = 1
"""Raised whenever the files or the manifest change their form: old ones are then encoded anew, and
runs that used them go on."""
MANIFEST = "manifest.json"
_TOKENS = "tokens.bin"
_SPANS = "spans.bin"
_SPAN_FIELDS = 5


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known of an encoded file."""

    num_conversations: int
    num_pairs: int
    num_tokens: int
    token_type: str
    left_out: dict[str, int]
    warnings: dict[str, int]


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """A conversation file, encoded; the arrays are memory-mapped."""

    manifest: Manifest
    tokens: Ids
    """[num_tokens]"""
    spans: NDArray[np.int64]
    """[num_pairs, 5]: start, header_end, answer_start, answer_end, conversation"""


def open_encoded(directory: Path) -> EncodedFile:
    """Map the arrays, and hold a shared lock on the tokens as long as they are mapped. Raises
    FileNotFoundError when the directory is not complete."""
    with (directory / _TOKENS).open("rb") as file:
        # The map has a descriptor of its own of the same open file: it keeps the lock.
        fcntl.flock(file, fcntl.LOCK_SH)
        text = (directory / MANIFEST).read_text(encoding="utf-8")
        manifest = Manifest(**json.loads(text))
        tokens = np.memmap(file, dtype=manifest.token_type, mode="r")
    shape = (manifest.num_pairs, _SPAN_FIELDS)
    spans = np.memmap(directory / _SPANS, dtype=np.int64, mode="r", shape=shape)
    return EncodedFile(manifest, tokens, spans)


class EncodedFileWriter:
    """Writes batch after batch; nothing of them is kept in memory but counts."""

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
        """Add the pairs of the conversations that follow in the file."""
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
        """What was written so far."""
        return Manifest(
            num_conversations=self.num_conversations,
            num_pairs=self._num_pairs,
            num_tokens=self._num_tokens,
            token_type=self._token_type,
            left_out=dict(self._left_out),
            warnings=dict(self._warnings),
        )


def complete(directory: Path, manifest: Manifest) -> None:
    """Say of what a closed writer wrote that it is all there."""
    draft = (directory / MANIFEST).with_suffix(".draft")
    draft.write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")
    os.replace(draft, directory / MANIFEST)
