"""The report, as programs read it.

    {"file": "talks.jsonl", "bytes": 1234, "is_trainable": false, "conversations": 2, ...}

Neither torch nor a tokenizer is imported here: the service reads this format too.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

MAX_LISTED = 100
"""Problems, warnings and repeats that a report lists; all of them are counted."""

_CLOSED = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ReportedProblem(BaseModel):
    """One fault with its place; `record` and `line` count from 1."""

    model_config = _CLOSED

    record: int | None
    """The number of the record; null when the file as a whole is meant."""
    line: int | None
    """The line on which the record begins."""
    field: str | None
    """The field of the record, such as `messages[1].content`."""
    kind: str
    found: str
    expected: str | None


class Problems(BaseModel):
    """Faults of one severity: all counted, the first ones listed."""

    model_config = _CLOSED

    num_problems: int
    num_records: int
    """Records that have any."""
    by_kind: dict[str, int]
    listed: tuple[ReportedProblem, ...]
    """The first 100, in the order of the file."""


class Cut(BaseModel):
    """What limits on length would cut."""

    model_config = _CLOSED

    max_source_length: int
    max_target_length: int
    truncated_sources: int
    """Pairs whose question is longer: its oldest turns are left out."""
    truncated_targets: int
    """Pairs whose answer is longer: its end is left out."""
    source_tokens_lost: int
    target_tokens_lost: int


class Bucket(BaseModel):
    """One bar of a histogram."""

    model_config = _CLOSED

    up_to: int
    """Tokens; the bar before this one ends at half of it."""
    pairs: int


class LengthSummary(BaseModel):
    """Lengths of one side of all pairs in tokens, EOS counted, before cutting."""

    model_config = _CLOSED

    p50: int
    p90: int
    p99: int
    max: int
    histogram: tuple[Bucket, ...]


class Tokens(BaseModel):
    """Tokens of one epoch, and how they were counted."""

    model_config = _CLOSED

    counted: Literal["exact", "estimated"]
    """`estimated` from the characters: usually within a tenth for the whole file, less good for
    scripts that T5 does not know."""
    model: str | None
    """Whose vocabulary was asked for."""
    tokenization: Literal["lossless", "fastchat"]
    note: str | None
    """Why they are estimated although a model was named."""
    source_tokens: int
    """Tokens that the encoder reads in one epoch, after cutting."""
    target_tokens: int
    """Tokens that the decoder learns in one epoch, after cutting."""


class Repeat(BaseModel):
    """A conversation that is word for word an earlier one."""

    model_config = _CLOSED

    record: int
    line: int | None
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
    """What a file holds, and what a job would make of it."""

    model_config = _CLOSED

    file: str
    bytes: int
    is_trainable: bool
    """Whether a job with the same `on_bad_record` takes the file."""
    on_bad_record: Literal["fail", "skip"]
    is_read_to_end: bool
    """False when a fault keeps the rest from being read: an array that is cut off, say."""
    records: int
    conversations: int
    """Records without a problem."""
    pairs: int
    """Questions with an answer to learn: what training counts as its data."""
    left_out: dict[str, int]
    """Turns that make no pair, by reason."""
    tokens: Tokens
    cut: Cut
    """What the given limits cut."""
    other_limits: tuple[Cut, ...]
    """The same for other limits, one for both sides."""
    source_lengths: LengthSummary | None
    """Null when there is no pair."""
    target_lengths: LengthSummary | None
    repeats: Repeats
    problems: Problems
    """What makes a record unusable."""
    warnings: Problems
    """What is left out of a usable record, and is seldom meant so."""
