"""Scan of data files for a forecast, and the pairs of a run from the scans.

A scan has the report on a file and the lengths of its pairs. Pairs are split and truncated as in
the run. Scans are cached for later forecasts, and `worker.controller.retention` removes unused
ones:

    <cache>/survey-<key>/report.json      flant5_train.protocol.file_report.FileReport
    <cache>/survey-<key>/pairs.bin        int32 [num_pairs, 3]: conversation, tokens of its source
                                          and of its target, before truncation
    <cache>/survey-<key>/manifest.json    its age is the time since the last use
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flant5_train.config import Hyperparameters, OnBadRecord, OnMissingQuestion
from flant5_train.data.errors import DataError
from flant5_train.data.pairs import PairLengths, split_by_conversation
from flant5_train.file_report.checks import ReportRequest, examine_with, num_beyond_limit
from flant5_train.file_report.token_counts import TokenCounter, Tokenization
from flant5_train.protocol.file_report import FileReport
from flant5_train.protocol.forecast import MAX_TOLD, PairsForecast

FORMAT = 2
"""Version of the scan. Increment it when the result for the same file changes."""
_REPORT, _PAIRS, _MANIFEST = "report.json", "pairs.bin", "manifest.json"
_TYPE = "i"
_NUM_COLUMNS = 3


@dataclass(frozen=True, slots=True)
class DataScan:
    """Scan result of a file. Shapes: N pairs."""

    report: FileReport
    """Only the parts without limits are meaningful: problems, repeats, skipped turns."""
    conversation: NDArray[np.int64]
    """The number of each pair's conversation, [N]."""
    lengths: PairLengths
    """Lengths before truncation."""


@dataclass(frozen=True, slots=True)
class FileScanner:
    """Scans files with one token counter, and caches the results in one directory."""

    counter: TokenCounter
    tokenization: Tokenization
    on_bad_record: OnBadRecord
    cache_directory: Path
    on_missing_question: OnMissingQuestion = OnMissingQuestion.TRAIN

    def scan(self, path: Path) -> DataScan:
        """Returns the cached scan, or a new one. Raises DataError if the file can't be opened."""
        kept = self.cache_directory / f"survey-{self._key(path)}"
        if found := _read(kept):
            return found
        rows = _Rows()
        report_request = ReportRequest(
            # Unused: pairs are truncated when a plan is made.
            max_source_length=1,
            max_target_length=1,
            tokenization=self.tokenization,
            on_bad_record=self.on_bad_record,
            on_missing_question=self.on_missing_question,
        )
        report = examine_with(self.counter, path, report_request, keep_lengths=rows.add)
        _keep(report, rows.values, kept)
        return _survey(report, rows.values.tobytes())

    def _key(self, path: Path) -> str:
        """Returns the cache key of a file and the scan's settings. Files are identified by path,
        size, time and inode."""
        try:
            stat = path.stat()
        except OSError as error:
            raise DataError(f"{path.name}: can't be read: {error.strerror}") from error
        file = [str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino]
        how = [self.on_bad_record, self.on_missing_question]
        reading = [self.tokenization, how, self.counter.fingerprint]
        return hashlib.sha256(json.dumps([FORMAT, file, reading]).encode()).hexdigest()[:32]


class _Rows:
    """Content of `pairs.bin`."""

    def __init__(self) -> None:
        self.values = array(_TYPE)
        self._num_conversations = 0

    def add(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        for pair in zip(sources, targets, strict=True):
            self.values.extend((self._num_conversations, *pair))
        self._num_conversations += 1


def _survey(report: FileReport, rows: bytes) -> DataScan:
    table = np.frombuffer(rows, dtype=_TYPE).reshape(-1, _NUM_COLUMNS).astype(np.int64)
    conversation, source, target = table.T
    return DataScan(report, conversation, PairLengths(source, target))


def _read(directory: Path) -> DataScan | None:
    try:
        os.utime(directory / _MANIFEST)
        report = FileReport.model_validate_json((directory / _REPORT).read_bytes())
        found = _survey(report, (directory / _PAIRS).read_bytes())
        if len(found.lengths) != report.pairs:
            raise ValueError(f"{_PAIRS} has {len(found.lengths)} pairs, {_REPORT} {report.pairs}")
    except FileNotFoundError:
        return None
    except OSError as error:
        sys.stderr.write(f"scan cache: can't read {directory}, scanning the file again: {error}\n")
        return None
    except ValueError as error:  # pydantic's is one
        sys.stderr.write(f"scan cache: {directory} is damaged, scanning again: {error}\n")
        shutil.rmtree(directory, ignore_errors=True)
        return None
    return found


def _keep(report: FileReport, rows: "array[int]", directory: Path) -> None:
    """Saves a scan to the cache. Errors are logged only: the forecast does not depend on it."""
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f"{directory.name}.", dir=directory.parent))
    except OSError as error:
        sys.stderr.write(f"scan cache: can't save {directory}: {error}\n")
        return
    try:
        (draft / _REPORT).write_text(report.model_dump_json(), encoding="utf-8")
        (draft / _PAIRS).write_bytes(rows.tobytes())
        (draft / _MANIFEST).write_text("{}\n", encoding="utf-8")
        os.rename(draft, directory)
    except OSError as error:
        # Also raised if another process has saved the same scan.
        shutil.rmtree(draft, ignore_errors=True)
        if not directory.is_dir():
            sys.stderr.write(f"scan cache: can't save {directory}: {error}\n")


@dataclass(frozen=True, slots=True)
class LengthLimits:
    """Limits of source and target in tokens, beyond which a run truncates."""

    source: int
    target: int

    @classmethod
    def of(cls, hyperparameters: Hyperparameters) -> "LengthLimits":
        both = hyperparameters.model_max_length
        beyond = num_beyond_limit(hyperparameters.tokenization)
        return cls(
            (hyperparameters.max_source_length or both) + beyond,
            (hyperparameters.max_target_length or both) + beyond,
        )


@dataclass(frozen=True, slots=True)
class ForecastPairs:
    """Some pairs of a file. Shapes: N pairs."""

    survey: DataScan
    rows: NDArray[np.int64]
    """Numbers of the pairs in the file, [N]."""
    limits: LengthLimits

    @property
    def lengths(self) -> PairLengths:
        """Lengths after truncation."""
        whole = self._whole
        return PairLengths(
            np.minimum(whole.source, self.limits.source),
            np.minimum(whole.target, self.limits.target),
        )

    def forecast(self) -> PairsForecast:
        report, whole, cut = self.survey.report, self._whole, self.lengths
        return PairsForecast(
            is_trainable=report.is_trainable,
            conversations=len(np.unique(self.survey.conversation[self.rows])),
            pairs=len(self.rows),
            source_tokens=int(cut.source.sum()),
            target_tokens=int(cut.target.sum()),
            longest_source=int(whole.source.max(initial=0)),
            longest_target=int(whole.target.max(initial=0)),
            truncated_sources=int((whole.source > cut.source).sum()),
            truncated_targets=int((whole.target > cut.target).sum()),
            source_tokens_lost=int((whole.source - cut.source).sum()),
            target_tokens_lost=int((whole.target - cut.target).sum()),
            repeats=report.repeats.num_repeats,
            left_out=report.left_out,
            num_problems=report.problems.num_problems,
            problems=tuple(map(str, report.problems.listed[:MAX_TOLD])),
        )

    @property
    def _whole(self) -> PairLengths:
        return self.survey.lengths.of(self.rows)


def all_pairs(survey: DataScan, hyperparameters: Hyperparameters) -> ForecastPairs:
    """Returns all pairs of a file."""
    rows = np.arange(len(survey.lengths), dtype=np.int64)
    return ForecastPairs(survey, rows, LengthLimits.of(hyperparameters))


def split_pairs(
    survey: DataScan, hyperparameters: Hyperparameters, *, seed: int
) -> tuple[ForecastPairs, ForecastPairs]:
    """Returns the training pairs, and the validation pairs held back by `validation_split`. Raises
    DataError if there are too few conversations."""
    share = hyperparameters.validation_split
    split = split_by_conversation(survey.conversation, share=share, seed=seed)
    limits = LengthLimits.of(hyperparameters)
    return ForecastPairs(survey, split.train, limits), ForecastPairs(
        survey, split.validation, limits
    )
