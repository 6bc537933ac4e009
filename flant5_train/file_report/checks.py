"""Makes the report on a file in one pass, record by record.

It counts all problems of the file, and keeps the first distinct ones.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from flant5_train.config import OnBadRecord, OnMissingQuestion
from flant5_train.data.errors import DataError, RecordProblem, SourceLocation
from flant5_train.data.prompt import RenderedConversation, render_prompt
from flant5_train.data.reader import RawRecord, read_blocks
from flant5_train.data.record_reader import ANSWER_WITHOUT_QUESTION, read_record
from flant5_train.file_report.duplicates import DuplicateFinder
from flant5_train.file_report.token_counts import (
    LengthCounts,
    TokenCounter,
    Tokenization,
    counter_for,
)
from flant5_train.protocol.failure import encodable
from flant5_train.protocol.file_report import (
    MAX_LISTED,
    Cut,
    FileReport,
    Problems,
    ReportedPlace,
    ReportedProblem,
    Tokens,
)
from flant5_train.protocol.turns import Conversation

_NUMBERS = re.compile(r"\[\d+\]")


class _Key(NamedTuple):
    """Grouping key of equal problems. The numbers of turns are not part of it."""

    kind: str
    field: str | None
    found: str
    expected: str | None


@dataclass(slots=True)
class _Group:
    first: ReportedPlace
    count: int = 0
    second: ReportedPlace | None = None


def warnings_under(on_missing_question: OnMissingQuestion) -> "IssueLog":
    """Returns an empty list for warnings. If answers without a question are skipped, they are not
    listed as warnings: the counts of skipped turns include them."""
    is_skipped = on_missing_question is OnMissingQuestion.SKIP
    return IssueLog(without=frozenset([ANSWER_WITHOUT_QUESTION] if is_skipped else []))


class IssueLog:
    """List of problems; its memory grows only with their kinds. Ignores the kinds in `without`."""

    def __init__(self, *, without: frozenset[str] = frozenset()) -> None:
        self._without = without
        self._by_kind: Counter[str] = Counter()
        self._groups: dict[_Key, _Group] = {}
        self._num_records = 0
        self._last_record: int | None = None

    def __len__(self) -> int:
        return self._by_kind.total()

    def add(self, problem: RecordProblem, *, location: SourceLocation) -> None:
        """Adds a problem. All problems of a record must be added consecutively."""
        if problem.reason in self._without:
            return
        if location.record != self._last_record:
            self._num_records += 1
            self._last_record = location.record
        field = None if problem.field is None else _NUMBERS.sub("[]", problem.field)
        key = _Key(problem.reason, field, problem.found, problem.expected)
        self._keep(
            key, ReportedPlace(record=location.record, line=location.line, field=problem.field)
        )

    def add_end(self, error: DataError) -> None:
        """Adds the error that makes the rest of the file unreadable."""
        location = error.location
        found = str(error)
        if location is not None:
            found = found.removeprefix(f"{location}: ").removeprefix(f"{location.file}: ")
        self._keep(
            _Key(error.reason, None, found, None),
            ReportedPlace(
                record=None if location is None else location.record,
                line=None if location is None else location.line,
                field=None,
            ),
        )

    def as_problems(self) -> Problems:
        return Problems(
            num_problems=len(self),
            num_records=self._num_records,
            by_kind=dict(self._by_kind.most_common()),
            listed=tuple(
                ReportedProblem(
                    **group.first.model_dump(),
                    kind=key.kind,
                    found=key.found,
                    expected=key.expected,
                    count=group.count,
                    also_at=group.second,
                )
                for key, group in self._groups.items()
            ),
        )

    def _keep(self, key: _Key, place: ReportedPlace) -> None:
        self._by_kind[key.kind] += 1
        group = self._groups.get(key)
        if group is None:
            if len(self._groups) == MAX_LISTED:
                return
            group = self._groups[key] = _Group(place)
        elif group.second is None:
            group.second = place
        group.count += 1


_OTHER_LIMITS = (512, 1024, 2048, 4096)


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """Request for a report: the settings of a job that would use the file."""

    max_source_length: int
    max_target_length: int
    model: str | None = None
    tokenization: Tokenization = "lossless"
    on_bad_record: OnBadRecord = OnBadRecord.FAIL
    on_missing_question: OnMissingQuestion = OnMissingQuestion.TRAIN


KeepLengths = Callable[[Sequence[int], Sequence[int]], object]
"""Receives the tokens of the questions and answers of each valid conversation, before truncation,
in the order of the file."""


def forget(sources: Sequence[int], targets: Sequence[int], /) -> None:
    """Ignores the lengths."""


def examine(path: Path, report_request: ReportRequest) -> FileReport:
    """Returns the report on a file. Raises DataError only if it can't be opened."""
    counter = counter_for(report_request.model, report_request.tokenization)
    return examine_with(counter, path, report_request, keep_lengths=forget)


def num_beyond_limit(tokenization: Tokenization) -> int:
    """Returns the number of tokens by which a side may exceed its limit: FastChat adds the end
    token after truncation."""
    return 1 if tokenization == "fastchat" else 0


def examine_with(
    counter: TokenCounter, path: Path, report_request: ReportRequest, *, keep_lengths: KeepLengths
) -> FileReport:
    """Like `examine`, with the counter for the question's model and tokenization."""
    num_bytes = _size_of(path)
    with DuplicateFinder() as repeats:
        examination = _Examination(report_request, counter, repeats, keep_lengths)
        is_read_to_end = examination.read(path)
        problems = examination.problems.as_problems()
        is_clean = not problems.num_problems or report_request.on_bad_record is OnBadRecord.SKIP
        return FileReport(
            file=encodable(path.name),
            bytes=num_bytes,
            is_trainable=is_read_to_end and is_clean and examination.num_pairs > 0,
            on_bad_record=report_request.on_bad_record.value,
            on_missing_question=report_request.on_missing_question.value,
            is_read_to_end=is_read_to_end,
            records=examination.num_records,
            conversations=examination.num_conversations,
            pairs=examination.num_pairs,
            left_out=dict(examination.left_out),
            tokens=examination.tokens(),
            cut=examination.cut(report_request.max_source_length, report_request.max_target_length),
            other_limits=tuple(examination.cut(limit, limit) for limit in _OTHER_LIMITS),
            source_lengths=examination.sources.summary(),
            target_lengths=examination.targets.summary(),
            repeats=repeats.found(),
            problems=problems,
            warnings=examination.warnings,
        )


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise DataError(f"{path.name}: can't be read: {error.strerror}") from error


class _Examination:
    """The state of a report while its file is read."""

    def __init__(
        self,
        report_request: ReportRequest,
        counter: TokenCounter,
        repeats: DuplicateFinder,
        keep_lengths: KeepLengths,
    ) -> None:
        self._report_request = report_request
        self._counter = counter
        self._keep_lengths = keep_lengths
        self._num_beyond_limit = num_beyond_limit(report_request.tokenization)
        self._repeats = repeats
        self._warnings = warnings_under(report_request.on_missing_question)
        self.problems = IssueLog()
        self.sources = LengthCounts()
        self.targets = LengthCounts()
        self.left_out: Counter[str] = Counter()
        self.num_records = self.num_conversations = self.num_pairs = 0

    @property
    def warnings(self) -> Problems:
        return self._warnings.as_problems()

    def read(self, path: Path) -> bool:
        """Returns True if the file was read to its end. Raises DataError if it can't be opened."""
        try:
            for block in read_blocks(path):
                understood = [self._understood(record) for record in block.records]
                how = self._report_request.on_missing_question
                self._count([render_prompt(each, how) for each in understood if each is not None])
        except DataError as error:
            if not path.is_file():
                raise
            self.problems.add_end(error)
            return False
        return True

    def tokens(self) -> Tokens:
        report_request, counter = self._report_request, self._counter
        cut = self.cut(report_request.max_source_length, report_request.max_target_length)
        return Tokens(
            counted=counter.counted,
            model=report_request.model,
            tokenization=report_request.tokenization,
            note=counter.note,
            source_tokens=self.sources.num_tokens - cut.source_tokens_lost,
            target_tokens=self.targets.num_tokens - cut.target_tokens_lost,
        )

    def cut(self, max_source_length: int, max_target_length: int) -> Cut:
        longest_source = max_source_length + self._num_beyond_limit
        longest_target = max_target_length + self._num_beyond_limit
        return Cut(
            max_source_length=max_source_length,
            max_target_length=max_target_length,
            truncated_sources=self.sources.num_longer(longest_source),
            truncated_targets=self.targets.num_longer(longest_target),
            source_tokens_lost=self.sources.tokens_beyond(longest_source),
            target_tokens_lost=self.targets.tokens_beyond(longest_target),
        )

    def _understood(self, record: RawRecord) -> Conversation | None:
        """Returns the conversation of a record, or None if it has a problem."""
        self.num_records += 1
        if record.error is not None:
            assert record.error.problem is not None, "each error of a record has its parts"
            self.problems.add(record.error.problem, location=record.location)
            return None
        reading = read_record(record.value)
        for problem in reading.problems:
            self.problems.add(problem, location=record.location)
        if reading.conversation is None:
            return None
        self.num_conversations += 1
        self._repeats.add(reading.conversation, location=record.location)
        for warning in reading.warnings:
            self._warnings.add(warning, location=record.location)
        return reading.conversation

    def _count(self, scripts: Sequence[RenderedConversation]) -> None:
        """Counts all segments with one call of the counter: single calls would be slow."""
        texts = [segment.text for rendered in scripts for segment in rendered.segments]
        lengths = iter(self._counter.lengths(texts))
        for rendered in scripts:
            self.left_out += rendered.left_out
            sources, targets = self._pair_lengths(rendered, lengths)
            self.num_pairs += len(sources)
            self.sources.add(sources)
            self.targets.add(targets)
            self._keep_lengths(sources, targets)

    def _pair_lengths(
        self, rendered: RenderedConversation, lengths: Iterator[int]
    ) -> tuple[list[int], list[int]]:
        """Returns the lengths of the questions and answers. Takes the script's segments from
        `lengths`."""
        sources, targets, before = [], [], 0
        for index, segment in enumerate(rendered.segments):
            length = next(lengths)
            if segment.is_answer:
                sources.append(before + self._counter.num_end_tokens(is_bare=index == 1))
                targets.append(length + 1)
            before += length
        return sources, targets
