"""Exact token counts, equal to those of training."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from google.protobuf.message import DecodeError

from flant5_train.data.encoding import LosslessEncoder, TextEncoder, encoder_for
from flant5_train.models.lossless_tokenizer import LosslessPieces, extend_vocabulary
from flant5_train.protocol.failure import FailureCode, TrainingError


@dataclass(frozen=True, slots=True)
class EncoderCounter:
    """Counts tokens by encoding the text."""

    encoder: TextEncoder
    note: None = None
    counted: Literal["exact", "estimated"] = "exact"

    @property
    def fingerprint(self) -> str:
        return self.encoder.fingerprint

    @property
    def num_tokens(self) -> int:
        return self.encoder.num_tokens

    def lengths(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self.encoder.encode(texts)]

    def num_end_tokens(self, *, is_bare: bool) -> int:
        return int(self.encoder.num_end_tokens(np.array([is_bare]))[0])


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    """Parts of a tokenizer that the encoder needs. A full one would import transformers."""

    pieces: LosslessPieces
    fingerprint: str


def lossless_counter(vocabulary: Path) -> EncoderCounter:
    """Returns the counter for a T5 vocabulary. Raises TrainingError if the file is none, OSError if
    it can't be read."""
    try:
        model = extend_vocabulary(vocabulary.read_bytes())
    except DecodeError as error:
        message = f"{vocabulary} is not a sentencepiece model"
        raise TrainingError(FailureCode.BAD_MODEL, message, param="model") from error
    fingerprint = hashlib.sha256(model).hexdigest()
    return EncoderCounter(LosslessEncoder(_Vocabulary(LosslessPieces(model), fingerprint)))


def fastchat_counter(model: str) -> EncoderCounter:
    """Returns the counter for FastChat's tokenization. Raises TrainingError if the model has no
    readable vocabulary."""
    from flant5_train.models.tokenizer import load_tokenizer

    return EncoderCounter(encoder_for(load_tokenizer(model, tokenization="fastchat")))
