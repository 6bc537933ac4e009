"""The report, as programs read it.

    {"file": "talks.jsonl", "bytes": 1234, "is_trainable": false, "conversations": 2, ...}

Neither torch nor a tokenizer is imported here: the service reads this format too.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

MAX_LISTED = 100
"""Problems, warnings and repeats that a report lists; all of them are counted."""

_CLOSED = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ReportedPlace(BaseModel):
    """A place in a file; `record` and `line` count from 1."""

    model_config = _CLOSED

    record: int | None
    """The number of the record; null when the file as a whole is meant."""
    line: int | None
    """The line on which the record begins."""
    field: str | None
    """The field of the record, such as `messages[1].content`."""

    def __str__(self) -> str:
        place = "the file" if self.record is None else f"record {self.record}"
        place += "" if self.line is None else f" (line {self.line})"
        return place if self.field is None else f"{place}, {self.field}"


class ReportedProblem(ReportedPlace):
    """Equal faults as one, with the place of the first."""

    kind: str
    """The class of fault, as `by_kind` counts it."""
    found: str
    """The value at that place, shortened."""
    expected: str | None
    """A value that could stand there; null where there is nothing to add."""
    count: int
    """Faults that differ from this one in their place alone, this one among them."""
    also_at: ReportedPlace | None
    """The place of the second of them."""

    def __str__(self) -> str:
        """As in "record 2 (line 2), messages[0].role: found 'bot'; expected one of ..."."""
        place = super().__str__()
        if self.also_at is not None:
            rest = f" and {self.count - 2} more places" if self.count > 2 else ""
            place += f" and {self.also_at}{rest}"
        expected = "" if self.expected is None else f"; expected {self.expected}"
        return f"{place}: found {self.found}{expected}"


class Problems(BaseModel):
    """Faults of one severity: all counted, the first ones listed, equal ones as one."""

    model_config = _CLOSED

    num_problems: int
    """All of them, listed or not."""
    num_records: int
    """Records that have any."""
    by_kind: dict[str, int]
    """How many of each kind."""
    listed: tuple[ReportedProblem, ...]
    """The first 100 that differ, in the order of the file."""


class Cut(BaseModel):
    """The effect of limits on length."""

    model_config = _CLOSED

    max_source_length: int
    """Tokens that a question may have."""
    max_target_length: int
    """Tokens that an answer may have."""
    truncated_sources: int
    """Pairs whose question is longer: its oldest turns are left out."""
    truncated_targets: int
    """Pairs whose answer is longer: its end is left out."""
    source_tokens_lost: int
    """Tokens of questions that would not be trained on."""
    target_tokens_lost: int
    """Tokens of answers that would not be trained on."""


class Bucket(BaseModel):
    """One bar of a histogram."""

    model_config = _CLOSED

    up_to: int
    """Tokens; the bar before this one ends at half of it."""
    pairs: int
    """Pairs of this length."""


class LengthSummary(BaseModel):
    """Lengths of one side of all pairs in tokens, EOS counted, before cutting."""

    model_config = _CLOSED

    p50: int
    """The median."""
    p90: int
    """Nine of ten are no longer."""
    p99: int
    """99 of 100 are no longer."""
    max: int
    """The longest."""
    histogram: tuple[Bucket, ...]
    """Bars from short to long; empty ones are left out."""


class Tokens(BaseModel):
    """Tokens of one epoch, and how they were counted."""

    model_config = _CLOSED

    counted: Literal["exact", "estimated"]
    """`estimated` from the characters: usually within a tenth for the whole file, less good for
    scripts that T5 does not know."""
    model: str | None
    """The model whose vocabulary was asked for."""
    tokenization: Literal["lossless", "fastchat"]
    """The way in which text becomes tokens."""
    note: str | None
    """The reason for an estimate although a model was named."""
    source_tokens: int
    """Tokens that the encoder reads in one epoch, after cutting."""
    target_tokens: int
    """Tokens that the decoder learns in one epoch, after cutting."""


class Repeat(BaseModel):
    """A conversation that is word for word an earlier one."""

    model_config = _CLOSED

    record: int
    """Number of the record, from 1."""
    line: int | None
    """The line on which it begins."""
    first_record: int
    """The record that it repeats."""


class Repeats(BaseModel):
    """Conversations that are there more than once."""

    model_config = _CLOSED

    num_repeats: int
    """Conversations that repeat an earlier one."""
    num_repeated: int
    """Different conversations that are there more than once."""
    listed: tuple[Repeat, ...]
    """The first 100, in the order of the file."""


class FileReport(BaseModel):
    """The contents of a file, and the use that a job would make of it."""

    model_config = _CLOSED

    file: str
    """The caller's name for it."""
    bytes: int
    """Its size."""
    is_trainable: bool
    """True when a job with the same `on_bad_record` takes the file."""
    on_bad_record: Literal["fail", "skip"]
    """The value that was asked for."""
    on_missing_question: Literal["train", "skip"]
    """The value that was asked for."""
    is_read_to_end: bool
    """False when a fault keeps the rest from being read: an array that is cut off, say."""
    records: int
    """Records read, whole or not."""
    conversations: int
    """Records without a problem."""
    pairs: int
    """Questions with an answer to learn: what training counts as its data."""
    left_out: dict[str, int]
    """Turns that make no pair, by reason."""
    tokens: Tokens
    """Of all pairs, after cutting."""
    cut: Cut
    """The effect of the given limits."""
    other_limits: tuple[Cut, ...]
    """The same for other limits, one for both sides."""
    source_lengths: LengthSummary | None
    """Null when there is no pair."""
    target_lengths: LengthSummary | None
    """Of the answers; null when there is no pair."""
    repeats: Repeats
    """Conversations that are word for word an earlier one."""
    problems: Problems
    """Faults that make a record unusable."""
    warnings: Problems
    """Parts of usable records that are left out, joined or without effect, seldom on purpose."""


class CheckedFile(BaseModel):
    """The contents of a file that a job takes, as the check before the job finds them."""

    model_config = _CLOSED

    file: str
    """Its name on the disk."""
    conversations: int
    """Records without a problem."""
    pairs: int
    """Questions with an answer to learn."""
    left_out: dict[str, int]
    """Turns and records that make no pair, by reason."""
    warnings: Problems
    """As in a report."""


class CheckedFiles(BaseModel):
    """The output of `python -m flant5_train.check` when it takes all its files."""

    model_config = _CLOSED

    files: tuple[CheckedFile, ...]
