"""JSON format of the report.

    {"file": "talks.jsonl", "bytes": 1234, "is_trainable": false, "conversations": 2, ...}

This module imports neither torch nor a tokenizer: the service reads this format too.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

MAX_LISTED = 100
"""Maximum number of problems, warnings and duplicates that a report lists. All are counted."""

_CLOSED = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ReportedPlace(BaseModel):
    """A place in a file; `record` and `line` count from 1."""

    model_config = _CLOSED

    record: int | None
    """Number of the record; null for the whole file."""
    line: int | None
    """Line on which the record begins."""
    field: str | None
    """Field of the record, such as `messages[1].content`."""

    def __str__(self) -> str:
        place = "the file" if self.record is None else f"record {self.record}"
        place += "" if self.line is None else f" (line {self.line})"
        return place if self.field is None else f"{place}, {self.field}"


class ReportedProblem(ReportedPlace):
    """A group of equal problems, with the place of the first."""

    kind: str
    """Kind of problem, as counted in `by_kind`."""
    found: str
    """Value at that place, shortened."""
    expected: str | None
    """Valid value; null if there is nothing to add."""
    count: int
    """Number of problems in the group, which differ only in their place."""
    also_at: ReportedPlace | None
    """Place of the second problem."""

    def __str__(self) -> str:
        """Returns "record 2 (line 2), messages[0].role: found 'bot'; expected one of ..."."""
        place = super().__str__()
        if self.also_at is not None:
            rest = f" and {self.count - 2} more places" if self.count > 2 else ""
            place += f" and {self.also_at}{rest}"
        expected = "" if self.expected is None else f"; expected {self.expected}"
        return f"{place}: found {self.found}{expected}"


class Problems(BaseModel):
    """Problems of one severity: all are counted, the first are listed, equal ones as a group."""

    model_config = _CLOSED

    num_problems: int
    """Number of problems, listed or not."""
    num_records: int
    """Number of records with problems."""
    by_kind: dict[str, int]
    """Number of problems of each kind."""
    listed: tuple[ReportedProblem, ...]
    """The first 100 different problems, in the order of the file."""


class Cut(BaseModel):
    """Effect of length limits."""

    model_config = _CLOSED

    max_source_length: int
    """Maximum number of tokens in a question."""
    max_target_length: int
    """Maximum number of tokens in an answer."""
    truncated_sources: int
    """Pairs whose question exceeds its limit: its oldest turns are dropped."""
    truncated_targets: int
    """Pairs whose answer exceeds its limit: its end is cut off."""
    source_tokens_lost: int
    """Tokens of questions that are not trained on."""
    target_tokens_lost: int
    """Tokens of answers that are not trained on."""


class Bucket(BaseModel):
    """One bar of a histogram."""

    model_config = _CLOSED

    up_to: int
    """Upper limit in tokens; the previous bar ends at half of it."""
    pairs: int
    """Number of pairs in the bar."""


class LengthSummary(BaseModel):
    """Lengths of all questions or answers in tokens, including EOS, before truncation."""

    model_config = _CLOSED

    p50: int
    """Median."""
    p90: int
    """90th percentile."""
    p99: int
    """99th percentile."""
    max: int
    """Maximum."""
    histogram: tuple[Bucket, ...]
    """Bars from short to long, without empty ones at the ends."""


class Tokens(BaseModel):
    """Tokens of one epoch."""

    model_config = _CLOSED

    counted: Literal["exact", "estimated"]
    """`estimated` from the characters: usually within 10 % for the whole file, less accurate for
    scripts that T5 does not know."""
    model: str | None
    """Model whose vocabulary was requested."""
    tokenization: Literal["lossless", "fastchat"]
    """Tokenization of the text."""
    note: str | None
    """Reason for an estimate although a model was given."""
    source_tokens: int
    """Tokens that the encoder reads per epoch, after truncation."""
    target_tokens: int
    """Tokens that the decoder learns per epoch, after truncation."""


class Repeat(BaseModel):
    """A conversation that is an exact duplicate of an earlier one."""

    model_config = _CLOSED

    record: int
    """Number of the record, from 1."""
    line: int | None
    """Line on which the record begins."""
    first_record: int
    """Number of the record that it duplicates."""


class Repeats(BaseModel):
    """Duplicate conversations of a file."""

    model_config = _CLOSED

    num_repeats: int
    """Conversations that duplicate an earlier one."""
    num_repeated: int
    """Distinct conversations that have duplicates."""
    listed: tuple[Repeat, ...]
    """The first 100 duplicates, in the order of the file."""


class FileReport(BaseModel):
    """Content of a file, and its use in a job."""

    model_config = _CLOSED

    file: str
    """Name of the file, as given by the caller."""
    bytes: int
    """Size of the file."""
    is_trainable: bool
    """True if a job with the same `on_bad_record` accepts the file."""
    on_bad_record: Literal["fail", "skip"]
    """Requested value."""
    on_missing_question: Literal["train", "skip"]
    """Requested value."""
    is_read_to_end: bool
    """False if an error makes the rest unreadable, for example a truncated array."""
    records: int
    """Records read, valid or not."""
    conversations: int
    """Records without a problem."""
    pairs: int
    """Questions with an answer to learn; training counts its data in pairs."""
    left_out: dict[str, int]
    """Turns that make no pair, by reason."""
    tokens: Tokens
    """Tokens of all pairs, after truncation."""
    cut: Cut
    """Effect of the given limits."""
    other_limits: tuple[Cut, ...]
    """Effect of other limits; each applies to both questions and answers."""
    source_lengths: LengthSummary | None
    """Lengths of the questions; null if there is no pair."""
    target_lengths: LengthSummary | None
    """Lengths of the answers; null if there is no pair."""
    repeats: Repeats
    """Conversations that are exact duplicates of an earlier one."""
    problems: Problems
    """Problems that make a record unusable."""
    warnings: Problems
    """Parts of usable records that are dropped, joined or have no effect; rarely intended."""


class CheckedFile(BaseModel):
    """Content of a file that passed the check before a job."""

    model_config = _CLOSED

    file: str
    """Name of the file on disk."""
    conversations: int
    """Records without a problem."""
    pairs: int
    """Questions with an answer to learn."""
    left_out: dict[str, int]
    """Turns and records that make no pair, by reason."""
    warnings: Problems
    """Warnings, as in a report."""


class CheckedFiles(BaseModel):
    """Output of `python -m flant5_train.check` if it accepts all files."""

    model_config = _CLOSED

    files: tuple[CheckedFile, ...]
