"""Loads a model with its tokenizer for inference, and estimates its memory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, T5Tokenizer

from flant5_train.data.encoding import TextEncoder, encoder_for
from flant5_train.hub_refusal import token_hint
from flant5_train.models.flan_t5 import FlanT5
from flant5_train.models.loading import load_model
from flant5_train.models.tokenizer import FASTCHAT_TOKENS, AnyTokenizer, load_tokenizer
from flant5_train.protocol.model_files import (
    bad_model,
    refuse_directory_without_model,
    tokenizer_directory,
)

_BYTES_PER_WEIGHT = 4
_MAX_ADDED_ROWS = 512
_DEFAULT_SOURCE_TOKENS = 2048
"""Source limit of models that were not trained by flant5: the default of a training run."""
_DEFAULT_NEW_TOKENS = 512


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is ready for inference."""

    model: FlanT5
    tokenizer: AnyTokenizer
    encoder: TextEncoder
    max_source_tokens: int
    num_bytes: int

    @property
    def max_new_tokens(self) -> int:
        """Default limit of an answer: the same as in training."""
        config = self.model.generation_config
        return (config.max_new_tokens if config else None) or _DEFAULT_NEW_TOKENS


def load(name_or_path: str, *, device: torch.device, max_source_tokens: int) -> LoadedModel:
    """Returns the model in float32 with the tokenizer of its training.

    Raises TrainingError if the model does not exist or is not a Flan-T5.
    """
    tokenizer = _tokenizer_of(name_or_path)
    model: Any = load_model(name_or_path, tokenizer)
    model.eval().to(device)
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        encoder=encoder_for(tokenizer),
        max_source_tokens=min(max_source_tokens, tokenizer.model_max_length),
        num_bytes=sum(weight.numel() * weight.element_size() for weight in model.parameters()),
    )


def expected_bytes(name_or_path: str) -> int:
    """Returns the memory that `load` will need, from the model's configuration. Raises
    TrainingError if it can't be read."""
    refuse_directory_without_model(name_or_path)
    try:
        config: Any = AutoConfig.from_pretrained(name_or_path, trust_remote_code=False)
        with torch.device("meta"):
            skeleton = FlanT5(config)
    except Exception as error:
        # Loaders raise exceptions of any type for files they can't read.
        found = f"{type(error).__name__}: {error}{token_hint(error)}"
        raise bad_model(name_or_path, found) from error
    blocks = sum(
        weight.numel() for name, weight in skeleton.named_parameters() if ".block." in name
    )
    # A shared embedding and an output layer, including rows for tokens that a base model lacks:
    # `load_model` adds them.
    rows = config.vocab_size + _MAX_ADDED_ROWS
    return int(blocks + 2 * rows * config.d_model) * _BYTES_PER_WEIGHT


def _tokenizer_of(name_or_path: str) -> AnyTokenizer:
    refuse_directory_without_model(name_or_path)
    try:
        saved: Any = AutoTokenizer.from_pretrained(
            tokenizer_directory(name_or_path), trust_remote_code=False
        )
    except Exception as error:
        raise bad_model(name_or_path, f"{type(error).__name__}: {error}") from error
    is_fastchat = {*FASTCHAT_TOKENS} <= {*saved.get_added_vocab()}
    # A published T5 declares a length of 512, which is no real limit.
    was_made_here = Path(name_or_path).is_dir() and (
        is_fastchat or not isinstance(saved, T5Tokenizer)
    )
    length = saved.model_max_length if was_made_here else _DEFAULT_SOURCE_TOKENS
    return load_tokenizer(
        name_or_path,
        tokenization="fastchat" if is_fastchat else "lossless",
        model_max_length=length if length < 10**9 else _DEFAULT_SOURCE_TOKENS,
    )
