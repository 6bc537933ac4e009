"""Encoded conversations on disk, kept between runs and shared by all processes of a run.

    <cache>/<key>/       an encoded file (`flant5_train.encoded_file`); the age of its
                         manifest.json is the time since the last use
    <cache>/<key>.lock   held by the process that writes the file

The key is a hash of the file's content, the tokenizer and the settings that change ids. It does not
include length limits: pairs are cut when they are read. A process that maps a file holds a shared
lock on its `tokens.bin`, which protects it from `worker.keeper.cache_cleanup`.
"""

import hashlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from flant5_train.config import OnBadRecord, OnMissingQuestion
from flant5_train.data.encoding import TextEncoder
from flant5_train.data.errors import DataError, nothing_to_train_on
from flant5_train.data.prompt import SYSTEM
from flant5_train.disk import writing
from flant5_train.encoded_file import (
    LAYOUT_VERSION,
    MANIFEST,
    EncodedFile,
    EncodedFileWriter,
    complete,
    open_encoded,
)
from flant5_train.encoding import BlockEncoder
from flant5_train.parallel_encoding import encode_file, num_processes_for
from flant5_train.protocol.progress import FileEncoding

ENCODING_VERSION = 3
"""Increment it when the same file would give other pairs or ids. It is part of a run's identity.
For another layout of the same ids, increment `LAYOUT_VERSION`."""
SECONDS_BETWEEN_REPORTS = 2.0
_CONTENT = "the encoded conversations"
_POLL_SECONDS = 0.1


def unheard(record: FileEncoding, /) -> None:
    """Progress callback that does nothing."""


@dataclass(frozen=True, slots=True)
class DataCache:
    """The encoded files under one directory, for one encoder."""

    directory: Path
    encoder: TextEncoder
    on_bad_record: OnBadRecord
    report: Callable[[FileEncoding], object] = unheard
    on_missing_question: OnMissingQuestion = OnMissingQuestion.TRAIN

    def build(self, path: Path) -> EncodedFile:
        """Returns the encoded file of `path`; encodes it if the cache has none.

        Raises DataError for an unusable file.
        """
        target = self._directory_of(path)
        with writing(_CONTENT, self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
            lock = FileLock(f"{target}.lock").acquire()
        with lock, _whole_or_gone(target), writing(_CONTENT, self.directory):
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
                progress.tell(writer.num_conversations, bytes_done=block.num_bytes_read)
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

    def tell(self, num_conversations: int, *, bytes_done: int) -> None:
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
