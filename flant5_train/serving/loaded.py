"""A model with all that its answers need, and how many bytes it takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, T5Tokenizer

from flant5_train.encoder import TextEncoder, encoder_for
from flant5_train.hub_refusal import token_hint
from flant5_train.model import load_model
from flant5_train.model_files import (
    bad_model,
    refuse_directory_without_model,
    tokenizer_directory,
)
from flant5_train.seq2seq import FlanT5
from flant5_train.tokenizer import FASTCHAT_TOKENS, AnyTokenizer, load_tokenizer

_BYTES_PER_WEIGHT = 4
_MAX_ADDED_ROWS = 512
_DEFAULT_SOURCE_TOKENS = 2048
"""What a run reads unless it was told otherwise; for models that no run of ours made."""
_DEFAULT_NEW_TOKENS = 512


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """Ready to answer."""

    model: FlanT5
    tokenizer: AnyTokenizer
    encoder: TextEncoder
    max_source_tokens: int
    num_bytes: int

    @property
    def max_new_tokens(self) -> int:
        """How long an answer gets unless the question says: as long as one in training."""
        config = self.model.generation_config
        return (config.max_new_tokens if config else None) or _DEFAULT_NEW_TOKENS


def load(name_or_path: str, *, device: torch.device, max_source_tokens: int) -> LoadedModel:
    """The model in float32, as it was trained, tokenized as it was trained.

    Raises TrainingError when there is no such model or it is not a Flan-T5.
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
    """What `load` will take, told by the model's configuration; raises TrainingError."""
    refuse_directory_without_model(name_or_path)
    try:
        config: Any = AutoConfig.from_pretrained(name_or_path, trust_remote_code=False)
        with torch.device("meta"):
            skeleton = FlanT5(config)
    except Exception as error:
        # Loaders raise errors of any kind for files they can't read.
        found = f"{type(error).__name__}: {error}{token_hint(error)}"
        raise bad_model(name_or_path, found) from error
    blocks = sum(
        weight.numel() for name, weight in skeleton.named_parameters() if ".block." in name
    )
    # One embedding for both sides and an output layer; with rows for the tokens that a base model
    # lacks, which are added when it is loaded.
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
    # A T5 as it was published names a length (512) that it is not bound to.
    was_made_here = Path(name_or_path).is_dir() and (
        is_fastchat or not isinstance(saved, T5Tokenizer)
    )
    length = saved.model_max_length if was_made_here else _DEFAULT_SOURCE_TOKENS
    return load_tokenizer(
        name_or_path,
        tokenization="fastchat" if is_fastchat else "lossless",
        model_max_length=length if length < 10**9 else _DEFAULT_SOURCE_TOKENS,
    )
