"""Token counts: exact with a model's local vocabulary, otherwise estimated from characters.

Counts of lengths give exact percentiles, truncation and histograms of any number of pairs. Their
memory grows only with the number of distinct lengths: a file of 600 MB has about ten thousand.
"""

import string
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Literal, Protocol

from flant5_train.config import DEMO_MODEL
from flant5_train.process import stay_offline
from flant5_train.protocol.failure import FailureCode, TrainingError
from flant5_train.protocol.file_report import Bucket, LengthSummary
from flant5_train.protocol.model_files import tokenizer_directory

Tokenization = Literal["lossless", "fastchat"]

_VOCABULARY = "spiece.model"


class TokenCounter(Protocol):
    """Counts the tokens of segments."""

    @property
    def note(self) -> str | None:
        """Reason why the counter is not the requested one, or None."""

    @property
    def counted(self) -> Literal["exact", "estimated"]: ...

    @property
    def fingerprint(self) -> str:
        """Identifier that is equal for counters with equal results."""

    @property
    def num_tokens(self) -> int | None:
        """Size of the vocabulary; None if unknown."""

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Returns the number of ids of each segment, without EOS."""

    def num_end_tokens(self, *, is_bare: bool) -> int:
        """Returns the number of ids that end a question. A bare one is a header without a turn."""


def counter_for(model: str | None, tokenization: Tokenization) -> TokenCounter:
    """Returns the best counter for a model (a directory or a hub name). It is exact if the model's
    vocabulary and the packages that read it are available. Nothing is downloaded."""
    if model is None:
        return Estimate(tokenization)
    if model == DEMO_MODEL:
        note = "the demo model's vocabulary is trained on the job's own file"
        return Estimate(tokenization, note=note)
    stay_offline()
    try:
        return _exact(model, tokenization)
    except ImportError as error:
        note = f"the package {error.name} is not installed"
    except (TrainingError, OSError) as error:
        note = str(error)
    return Estimate(tokenization, note=note)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Estimate from the kinds of characters. Fitted to T5's vocabulary in lossless tokenization on
    dialogue, prose and code: their totals are within 10 %."""

    tokenization: Tokenization
    note: str | None = None
    counted: Literal["exact", "estimated"] = "estimated"
    num_tokens: None = None

    @property
    def fingerprint(self) -> str:
        return f"estimated:{self.tokenization}:{_ESTIMATE}"

    def lengths(self, texts: Sequence[str]) -> list[int]:
        factor = _FASTCHAT if self.tokenization == "fastchat" else 1.0
        return [round(factor * _estimated(text)) for text in texts]

    def num_end_tokens(self, *, is_bare: bool) -> int:
        return 1 if is_bare or self.tokenization == "fastchat" else 2


_ESTIMATE = 1
"""Version of the estimate. Increment it when the result for the same text changes."""
_TOKENS_EACH = {
    string.ascii_lowercase.encode(): 0.2,
    # More than lowercase, because a capital often starts a piece.
    string.ascii_uppercase.encode(): 0.46,
    string.digits.encode(): 0.46,
    string.punctuation.encode(): 1.37,
    b" ": 0.12,
    b"\n\r\t": 1.5,
    bytes(range(128, 256)): 0.68,
}
_KINDS = bytes(
    next((kind for kind, characters in enumerate(_TOKENS_EACH) if byte in characters), 255)
    for byte in range(256)
)
"""The kind of each byte, as a number. Control characters have a kind that is not counted."""
_FASTCHAT = 1.54
"""FastChat tokens per lossless token, measured on real conversations."""


def _estimated(text: str) -> float:
    """
    >>> round(_estimated("Hello, world! How are you?"))
    9
    """
    kinds = text.encode().translate(_KINDS)
    return sum(kinds.count(kind) * each for kind, each in enumerate(_TOKENS_EACH.values()))


def _exact(model: str, tokenization: Tokenization) -> TokenCounter:
    """Returns an exact counter. It imports numpy and other packages that some services lack."""
    from flant5_train.file_report.exact_tokens import fastchat_counter, lossless_counter

    vocabulary = Path(tokenizer_directory(model)) / _VOCABULARY
    if not vocabulary.is_file():
        vocabulary = _downloaded(model)
    return lossless_counter(vocabulary) if tokenization == "lossless" else fastchat_counter(model)


def _downloaded(model: str) -> Path:
    # Not by transformers, which takes seconds to import.
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(model, _VOCABULARY)
    except ValueError:  # not a valid hub name
        found = None
    if not isinstance(found, str):
        raise TrainingError(
            FailureCode.BAD_MODEL,
            f"no {_VOCABULARY} of '{model}' is on this machine, and nothing is downloaded to count"
            " tokens",
            param="model",
        )
    return Path(found)


_SMALLEST_BUCKET = 16


class LengthCounts:
    """The lengths of one side of all pairs."""

    def __init__(self) -> None:
        self._count_of: Counter[int] = Counter()

    def add(self, lengths: Iterable[int]) -> None:
        self._count_of.update(lengths)

    @property
    def num_tokens(self) -> int:
        return sum(length * count for length, count in self._count_of.items())

    def num_longer(self, limit: int) -> int:
        return sum(count for length, count in self._count_of.items() if length > limit)

    def tokens_beyond(self, limit: int) -> int:
        """Returns the number of tokens that a limit cuts off."""
        return sum(
            (length - limit) * count for length, count in self._count_of.items() if length > limit
        )

    def summary(self) -> LengthSummary | None:
        """Returns the summary, or None if there are no lengths."""
        if not self._count_of:
            return None
        return LengthSummary(
            p50=self._percentile(50),
            p90=self._percentile(90),
            p99=self._percentile(99),
            max=max(self._count_of),
            histogram=self._histogram(),
        )

    def _percentile(self, percent: int) -> int:
        """Returns a percentile like numpy's method "higher", which the report of a run uses."""
        rank = ceil((self._count_of.total() - 1) * percent / 100)
        for length in sorted(self._count_of):
            rank -= self._count_of[length]
            if rank < 0:
                return length
        raise AssertionError("the last length has the highest rank")

    def _histogram(self) -> tuple[Bucket, ...]:
        pairs_of: Counter[int] = Counter()
        for length, count in self._count_of.items():
            pairs_of[_bucket_of(length)] += count
        up_to, buckets = min(pairs_of), []
        while up_to <= max(pairs_of):
            buckets.append(Bucket(up_to=up_to, pairs=pairs_of[up_to]))
            up_to *= 2
        return tuple(buckets)


def _bucket_of(length: int) -> int:
    """
    >>> [_bucket_of(length) for length in (1, 16, 17, 32, 33)]
    [16, 16, 32, 32, 64]
    """
    return max(_SMALLEST_BUCKET, 1 << (length - 1).bit_length())
