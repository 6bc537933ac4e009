"""A file read once, record by record, to a report."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from flant5_train.config import OnBadRecord
from flant5_train.conversations import (
    Conversation,
    Role,
    problems_of,
    sound_conversation,
    turns_field,
)
from flant5_train.file_report.format import Cut, FileReport, Problems, Tokens
from flant5_train.file_report.lengths import LengthCounts
from flant5_train.file_report.problems import ProblemList
from flant5_train.file_report.repeats import RepeatFinder
from flant5_train.file_report.tokens import TokenCounter, Tokenization, counter_for
from flant5_train.place import DataError, Problem
from flant5_train.prompt import Script, write_script
from flant5_train.records import RawRecord, read_blocks

_OTHER_LIMITS = (512, 1024, 2048, 4096)


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be found out about a file: as a job with these settings would see it."""

    max_source_length: int
    max_target_length: int
    model: str | None = None
    tokenization: Tokenization = "lossless"
    on_bad_record: OnBadRecord = OnBadRecord.FAIL


def examine(path: Path, question: Question) -> FileReport:
    """The report on a file. Raises DataError only when it can't be opened."""
    num_bytes = _size_of(path)
    counter = counter_for(question.model, question.tokenization)
    with RepeatFinder() as repeats:
        examination = _Examination(counter, repeats)
        is_read_to_end = examination.read(path)
        problems = examination.problems.as_problems()
        is_clean = not problems.num_problems or question.on_bad_record is OnBadRecord.SKIP
        return FileReport(
            file=path.name,
            bytes=num_bytes,
            is_trainable=is_read_to_end and is_clean and examination.num_pairs > 0,
            on_bad_record=question.on_bad_record.value,
            is_read_to_end=is_read_to_end,
            records=examination.num_records,
            conversations=examination.num_conversations,
            pairs=examination.num_pairs,
            left_out=dict(examination.left_out),
            tokens=examination.tokens(question, counter),
            cut=examination.cut(question.max_source_length, question.max_target_length),
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
    """What has been seen of a file so far."""

    def __init__(self, counter: TokenCounter, repeats: RepeatFinder) -> None:
        self._counter = counter
        self._repeats = repeats
        self._warnings = ProblemList()
        self.problems = ProblemList()
        self.sources = LengthCounts()
        self.targets = LengthCounts()
        self.left_out: Counter[str] = Counter()
        self.num_records = self.num_conversations = self.num_pairs = 0

    @property
    def warnings(self) -> Problems:
        return self._warnings.as_problems()

    def read(self, path: Path) -> bool:
        """Whether the file was read to its end. Raises DataError when it can't be opened."""
        try:
            for block in read_blocks(path):
                understood = [self._understood(record) for record in block.records]
                self._count([write_script(each) for each in understood if each is not None])
        except DataError as error:
            if not path.is_file():
                raise
            self.problems.add_end(error)
            return False
        return True

    def tokens(self, question: Question, counter: TokenCounter) -> Tokens:
        cut = self.cut(question.max_source_length, question.max_target_length)
        return Tokens(
            counted=counter.counted,
            model=question.model,
            tokenization=question.tokenization,
            note=counter.note,
            source_tokens=self.sources.num_tokens - cut.source_tokens_lost,
            target_tokens=self.targets.num_tokens - cut.target_tokens_lost,
        )

    def cut(self, max_source_length: int, max_target_length: int) -> Cut:
        return Cut(
            max_source_length=max_source_length,
            max_target_length=max_target_length,
            truncated_sources=self.sources.num_longer(max_source_length),
            truncated_targets=self.targets.num_longer(max_target_length),
            source_tokens_lost=self.sources.tokens_beyond(max_source_length),
            target_tokens_lost=self.targets.tokens_beyond(max_target_length),
        )

    def _understood(self, record: RawRecord) -> Conversation | None:
        """The conversation of a record, or None when it has a problem."""
        self.num_records += 1
        has_problem = False
        for problem in _problems_of_record(record):
            has_problem = True
            self.problems.add(problem, place=record.place)
        if has_problem:
            return None
        conversation = sound_conversation(record.value)
        self.num_conversations += 1
        self._repeats.add(conversation, place=record.place)
        for warning in _warnings_of(conversation, turns_field(record.value)):
            self._warnings.add(warning, place=record.place)
        return conversation

    def _count(self, scripts: Sequence[Script]) -> None:
        """All segments go to the counter in one call, which is what makes it fast."""
        texts = [segment.text for script in scripts for segment in script.segments]
        lengths = iter(self._counter.lengths(texts))
        for script in scripts:
            self.left_out += script.left_out
            sources, targets = self._pair_lengths(script, lengths)
            self.num_pairs += len(sources)
            self.sources.add(sources)
            self.targets.add(targets)

    def _pair_lengths(self, script: Script, lengths: Iterator[int]) -> tuple[list[int], list[int]]:
        """Of the questions and of the answers; takes the script's own from `lengths`."""
        sources, targets, before = [], [], 0
        for index, segment in enumerate(script.segments):
            length = next(lengths)
            if segment.is_answer:
                sources.append(before + self._counter.num_end_tokens(is_bare=index == 1))
                targets.append(length + 1)
            before += length
        return sources, targets


def _problems_of_record(record: RawRecord) -> Iterator[Problem]:
    if record.error is None:
        yield from problems_of(record.value)
        return
    assert record.error.problem is not None, "each error of a record has its parts"
    yield record.error.problem


def _warnings_of(conversation: Conversation, field: str) -> Iterator[Problem]:
    """What makes no pair, and is seldom meant so."""
    for index, turn in enumerate(conversation.turns):
        if turn.role is Role.GPT and not turn.text.strip():
            yield Problem("empty answer", "no text", "an answer to learn", f"{field}[{index}]")
    last = conversation.turns[-1]
    if last.role is Role.HUMAN:
        at = f"{field}[{len(conversation.turns) - 1}]"
        yield Problem("human turn without an answer", "the last turn", "an answer behind it", at)
    if last.role is Role.SYSTEM:
        yield Problem("no turns but a system turn", "a system turn alone", "a talk", field)
