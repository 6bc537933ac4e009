"""Encoded conversations on disk, kept between runs and shared by all processes of a run.

    <cache>/<key>/       an encoded file (`flant5_train.encoded_file`); the age of its
                         manifest.json is the time since the last use
    <cache>/<key>.lock   held by whoever writes it

The key is made of the file's content, the tokenizer and the settings that change ids. Limits on
length are not among them: pairs are cut when they are read. Whoever has a file mapped holds a
shared lock on its `tokens.bin`, so that it is not cleaned up (`worker.keeper.cache_cleanup`).
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
from flant5_train.disk import writing
from flant5_train.encoded_file import (
    LAYOUT_VERSION,
    MANIFEST,
    EncodedFile,
    EncodedFileWriter,
    complete,
    open_encoded,
)
from flant5_train.encoder import TextEncoder
from flant5_train.encoding import BlockEncoder
from flant5_train.parallel_encoding import encode_file, num_processes_for
from flant5_train.place import DataError, nothing_to_train_on
from flant5_train.progress import FileEncoding
from flant5_train.prompt import SYSTEM

ENCODING_VERSION = 3
"""Raised whenever the same file would give other pairs or ids. It is part of a run's identity:
another layout of the same ids is `LAYOUT_VERSION`'s."""
SECONDS_BETWEEN_REPORTS = 2.0
_CONTENT = "the encoded conversations"
_POLL_SECONDS = 0.1


def unheard(record: FileEncoding, /) -> None:
    """The report of those who don't want to know how far it is."""


@dataclass(frozen=True, slots=True)
class DataCache:
    """The encoded files under one directory, for one encoder."""

    directory: Path
    encoder: TextEncoder
    on_bad_record: OnBadRecord
    report: Callable[[FileEncoding], object] = unheard
    on_missing_question: OnMissingQuestion = OnMissingQuestion.TRAIN

    def build(self, path: Path) -> EncodedFile:
        """Encode `path` unless that was done before. Raises DataError for an unusable file."""
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
        """Returns the file that another process builds. Waits without a limit: when the other one
        fails, torchrun ends this one too."""
        target = self._directory_of(path)
        while True:
            try:
                return open_encoded(target)
            except FileNotFoundError:  # not complete yet, or an old one that is being removed
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
        shutil.rmtree(target, ignore_errors=True)  # of a process that was killed
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
    """Around code that writes an encoded file: of one that did not get complete nothing is left,
    also when this process is told to stop."""
    try:
        yield
    finally:
        if not (target / MANIFEST).exists():
            shutil.rmtree(target, ignore_errors=True)


class _Progress:
    """Tells how far a file is encoded, but not more often than anybody wants to read it."""

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
