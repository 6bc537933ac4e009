"""Encoded conversations on disk, kept between runs and shared by all processes of a run.

    <cache>/<key>/tokens.bin       every id of the file, flat, uint16 (uint32 for big vocabularies)
                  spans.npy        int64 [N, 5]: PairSpan and the number of its conversation
                  manifest.json    counts; written last, so that its existence means complete;
                                   its age is the time since the last use

The key is made of the file's content, the tokenizer and the settings that change ids. Limits on
length are not among them: pairs are cut when they are read. Whoever has a file mapped holds a
shared lock on its `tokens.bin`, so that it is not cleaned up (`worker.keeper.cache_cleanup`).
"""

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from flant5_train.check import nothing_to_train_on
from flant5_train.config import OnBadRecord
from flant5_train.conversations import Conversation, ConversationFile
from flant5_train.disk import writing
from flant5_train.encoder import Ids, TextEncoder
from flant5_train.encoding import encode_batch
from flant5_train.place import DataError
from flant5_train.prompt import SYSTEM

FORMAT = 1
"""Raised whenever the same file would be encoded differently."""
_BATCH = 512
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known of an encoded file."""

    num_conversations: int
    num_pairs: int
    num_tokens: int
    token_type: str
    left_out: dict[str, int]


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """A conversation file, encoded; the arrays are memory-mapped."""

    manifest: Manifest
    tokens: Ids
    """[num_tokens]"""
    spans: NDArray[np.int64]
    """[num_pairs, 5]: start, header_end, answer_start, answer_end, conversation"""


@dataclass(frozen=True, slots=True)
class DataCache:
    """The encoded files under one directory, for one encoder."""

    directory: Path
    encoder: TextEncoder
    on_bad_record: OnBadRecord

    def build(self, path: Path) -> EncodedFile:
        """Encode `path` unless that was done before. Raises DataError for an unusable file."""
        target = self._directory_of(path)
        clear = partial(shutil.rmtree, target, ignore_errors=True)
        with writing("the encoded conversations", self.directory, undo=clear):
            target.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{target}.lock"):
                if not (target / "manifest.json").exists():
                    self._encode(path, target)
                os.utime(target / "manifest.json")
        return self._open(target)

    def wait(self, path: Path) -> EncodedFile:
        """What another process builds. Waits without a limit: when that process fails, torchrun
        ends this one too."""
        target = self._directory_of(path)
        while True:
            try:
                return self._open(target)
            except FileNotFoundError:  # not complete yet, or an old one that is being removed
                time.sleep(_POLL_SECONDS)

    def _directory_of(self, path: Path) -> Path:
        settings = json.dumps([FORMAT, self.encoder.fingerprint, SYSTEM, self.on_bad_record])
        try:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"{path.name}: can't be read: {error.strerror}") from error
        return self.directory / hashlib.sha256(f"{content}{settings}".encode()).hexdigest()[:32]

    def _encode(self, path: Path, target: Path) -> None:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        file = ConversationFile(path, self.on_bad_record)
        token_type = np.uint16 if self.encoder.num_tokens <= 1 << 16 else np.uint32
        spans: list[NDArray[np.int64]] = []
        left_out: Counter[str] = Counter()
        num_conversations = num_tokens = 0
        with (target / "tokens.bin").open("wb") as tokens_file:
            for conversations in _batches(file, _BATCH):
                batch = encode_batch(conversations, self.encoder)
                numbers = np.repeat(np.arange(len(conversations)), batch.num_pairs_of)
                rows = np.array(batch.spans, dtype=np.int64).reshape(-1, 4) + num_tokens
                spans.append(np.column_stack([rows, numbers + num_conversations]))
                tokens_file.write(batch.tokens.astype(token_type).tobytes())
                left_out += batch.left_out
                num_conversations += len(conversations)
                num_tokens += len(batch.tokens)
        table = np.concatenate([np.empty((0, 5), np.int64), *spans])
        left_out += file.left_out()
        if not len(table):
            raise nothing_to_train_on(path.name, num_conversations, left_out)
        np.save(target / "spans.npy", table)
        _write_last(
            target / "manifest.json",
            Manifest(
                num_conversations, len(table), num_tokens, token_type.__name__, dict(left_out)
            ),
        )

    def _open(self, target: Path) -> EncodedFile:
        with (target / "tokens.bin").open("rb") as file:
            # The map has a descriptor of its own of the same open file: it keeps the lock.
            fcntl.flock(file, fcntl.LOCK_SH)
            text = (target / "manifest.json").read_text(encoding="utf-8")
            manifest = Manifest(**json.loads(text))
            tokens = np.memmap(file, dtype=manifest.token_type, mode="r")
        spans = np.load(target / "spans.npy", mmap_mode="r")
        return EncodedFile(manifest, tokens, spans)


def _batches(file: Iterable[Conversation], size: int) -> Iterator[list[Conversation]]:
    conversations = iter(file)
    while batch := list(islice(conversations, size)):
        yield batch


def _write_last(path: Path, manifest: Manifest) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(asdict(manifest), indent=2) + "\n", encoding="utf-8")
    os.replace(draft, path)
