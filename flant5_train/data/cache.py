"""Encoded conversations on disk, kept between runs and shared by all processes of a run.

    <cache>/<key>/              an encoded file; flat arrays that any number of processes map
        tokens.bin              every id, uint16 (uint32 for big vocabularies) [num_tokens]
        spans.bin               int64 [num_pairs, 5]: PairSpan and the number of its conversation
        manifest.json           counts; written last: its existence means complete, and its age is
                                the time since the last use
    <cache>/<key>.lock          held by the process that writes the file

The key is a hash of the file's content, the tokenizer and the settings that change ids. It does not
include length limits: pairs are cut when they are read. A process that maps a file holds a shared
lock on its `tokens.bin`, which protects it from `worker.controller.retention`.

All processes of a machine share one copy of the mapped pages. The kernel reclaims them when memory
is short. Several processes encode a large file in parallel, and the result does not depend on their
number.
"""

import fcntl
import hashlib
import json
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from flant5_train.config import OnBadRecord, OnMissingQuestion
from flant5_train.data.encoding import BlockEncoder, EncodedBatch, EncodedBlock, Ids, TextEncoder
from flant5_train.data.errors import DataError, nothing_to_train_on
from flant5_train.data.process_pool import ProcessLostError, ProcessPool
from flant5_train.data.prompt import SYSTEM
from flant5_train.data.reader import RecordBlock, read_blocks
from flant5_train.disk import disk_full_context
from flant5_train.protocol.failure import FailureCode, TrainingError
from flant5_train.protocol.progress import FileEncoding

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


_SMALL_BYTES = 8 << 20
"""Below this size, encoding takes less time than starting processes."""
_MAX_PROCESSES = 8
"""This process reads JSON about six times as fast as another process encodes it."""


def num_processes_for(path: Path) -> int:
    """Returns the number of processes to encode a file; 1 means this process."""
    if path.stat().st_size < _SMALL_BYTES:
        return 1
    return min(len(os.sched_getaffinity(0)), _MAX_PROCESSES)


def encode_file(path: Path, encode: BlockEncoder, *, num_processes: int) -> Iterator[EncodedBlock]:
    """Yields the blocks of a file, in order.

    Raises DataError for the first problem in the file, and TrainingError if a process dies.
    """
    blocks = read_blocks(path)
    if num_processes == 1:
        yield from map(encode, blocks)
        return
    try:
        with ProcessPool(encode, size=num_processes) as pool:
            yield from pool.map(blocks)
    except ProcessLostError as error:
        raise _lost(error, name=path.name) from error


def _lost(error: ProcessLostError, *, name: str) -> TrainingError:
    where = f"the conversations of {name}"
    if isinstance(error.item, RecordBlock):
        first, last = error.item.records[0].location, error.item.records[-1].location
        where = f"records {first.record} to {last.record} of {name}"
    if error.exit_code >= 0:
        ended, code = f"ended with exit code {error.exit_code}", FailureCode.INTERNAL
    else:
        number = signal.Signals(-error.exit_code)
        ended, code = f"was killed by signal {int(number)} ({number.name})", FailureCode.KILLED
        if number is signal.SIGKILL:
            ended += ", most likely because memory ran out,"
            code = FailureCode.HOST_OOM
    return TrainingError(code, f"a preprocessing process {ended} while encoding {where}")


ENCODING_VERSION = 3
"""Increment it when the same file would give other pairs or ids. It is part of a run's identity.
For another layout of the same ids, increment `LAYOUT_VERSION`."""
SECONDS_BETWEEN_REPORTS = 2.0
_CONTENT = "the encoded conversations"
_POLL_SECONDS = 0.1


def ignore_progress(record: FileEncoding, /) -> None:
    """Progress callback that does nothing."""


@dataclass(frozen=True, slots=True)
class DataCache:
    """The encoded files under one directory, for one encoder."""

    directory: Path
    encoder: TextEncoder
    on_bad_record: OnBadRecord
    report: Callable[[FileEncoding], object] = ignore_progress
    on_missing_question: OnMissingQuestion = OnMissingQuestion.TRAIN

    def build(self, path: Path) -> EncodedFile:
        """Returns the encoded file of `path`; encodes it if the cache has none.

        Raises DataError for an unusable file.
        """
        target = self._directory_of(path)
        with disk_full_context(_CONTENT, self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
            lock = FileLock(f"{target}.lock").acquire()
        with lock, _whole_or_gone(target), disk_full_context(_CONTENT, self.directory):
            if not (target / MANIFEST).exists():
                self._encode(path, target)
            os.utime(target / MANIFEST)
        return open_encoded(target)

    def wait(self, path: Path) -> EncodedFile:
        """Returns the file that another process builds.

        Waits without a limit: if the other process fails, torchrun kills this one too.
        """
        target = self._directory_of(path)
        while True:
            try:
                return open_encoded(target)
            except FileNotFoundError:  # incomplete, or an old file being removed
                time.sleep(_POLL_SECONDS)

    def _directory_of(self, path: Path) -> Path:
        reading = [self.on_bad_record, self.on_missing_question]
        versions = ENCODING_VERSION, LAYOUT_VERSION
        settings = json.dumps([*versions, self.encoder.fingerprint, SYSTEM, reading])
        try:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"{path.name}: can't be read: {error.strerror}") from error
        return self.directory / hashlib.sha256(f"{content}{settings}".encode()).hexdigest()[:32]

    def _encode(self, path: Path, target: Path) -> None:
        shutil.rmtree(target, ignore_errors=True)  # left by a killed process
        encode = BlockEncoder(self.encoder, self.on_bad_record, self.on_missing_question)
        blocks = encode_file(path, encode, num_processes=num_processes_for(path))
        progress = _Progress(path, self.report)
        with EncodedFileWriter(target, token_type=encode.token_type) as writer:
            for block in blocks:
                writer.append(block.batch)
                progress.update(writer.num_conversations, bytes_done=block.num_bytes_read)
        manifest = writer.manifest
        if not manifest.num_pairs:
            left_out = Counter(manifest.left_out)
            raise nothing_to_train_on(path.name, manifest.num_conversations, left_out)
        complete(target, manifest)


@contextmanager
def _whole_or_gone(target: Path) -> Iterator[None]:
    """Removes the encoded file if the block leaves it incomplete, also when this process stops."""
    try:
        yield
    finally:
        if not (target / MANIFEST).exists():
            shutil.rmtree(target, ignore_errors=True)


class _Progress:
    """Reports encoding progress, at most every `SECONDS_BETWEEN_REPORTS`."""

    def __init__(self, path: Path, report: Callable[[FileEncoding], object]) -> None:
        self._name = path.name
        self._num_bytes = path.stat().st_size
        self._report = report
        self._told_at = time.monotonic()

    def update(self, num_conversations: int, *, bytes_done: int) -> None:
        now = time.monotonic()
        if now - self._told_at < SECONDS_BETWEEN_REPORTS:
            return
        self._told_at = now
        self._report(
            FileEncoding(
                file=self._name,
                conversations=num_conversations,
                bytes_done=bytes_done,
                bytes_total=self._num_bytes,
            )
        )
