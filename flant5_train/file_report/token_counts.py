"""Token counters: exact with a model's local vocabulary, otherwise estimated from characters."""

import string
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from flant5_train.config import DEMO_MODEL
from flant5_train.process import stay_offline
from flant5_train.protocol.failure import FailureCode, TrainingError
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
