"""LRU cache of loaded models, limited by their memory.

`load` loads a model with its tokenizer for inference, and `expected_bytes` estimates its memory.
"""

import gc
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, T5Tokenizer

from flant5_train.data.encoding import TextEncoder, encoder_for
from flant5_train.models.flan_t5 import FlanT5
from flant5_train.models.loading import load_model
from flant5_train.models.tokenizer import (
    FASTCHAT_TOKENS,
    AnyTokenizer,
    hub_access_hint,
    load_tokenizer,
)
from flant5_train.protocol.model_files import (
    bad_model,
    check_model_directory,
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
    check_model_directory(name_or_path)
    try:
        config: Any = AutoConfig.from_pretrained(name_or_path, trust_remote_code=False)
        with torch.device("meta"):
            skeleton = FlanT5(config)
    except Exception as error:
        # Loaders raise exceptions of any type for files they can't read.
        found = f"{type(error).__name__}: {error}{hub_access_hint(error)}"
        raise bad_model(name_or_path, found) from error
    blocks = sum(
        weight.numel() for name, weight in skeleton.named_parameters() if ".block." in name
    )
    # A shared embedding and an output layer, including rows for tokens that a base model lacks:
    # `load_model` adds them.
    rows = config.vocab_size + _MAX_ADDED_ROWS
    return int(blocks + 2 * rows * config.d_model) * _BYTES_PER_WEIGHT


def _tokenizer_of(name_or_path: str) -> AnyTokenizer:
    check_model_directory(name_or_path)
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


class ModelTooLargeError(Exception):
    """The model alone exceeds the memory limit of the cache."""


Version = tuple[tuple[str, int, int], ...]


class ModelCache:
    """Cache of models with a total size of at most `max_bytes`."""

    def __init__(
        self,
        *,
        max_bytes: int,
        load_model: Callable[[str], LoadedModel],
        expected: Callable[[str], int] = expected_bytes,
    ) -> None:
        self._max_bytes = max_bytes
        self._load = load_model
        self._expected = expected
        self._models: OrderedDict[str, tuple[Version, LoadedModel]] = OrderedDict()
        """Models in order of last use, most recent last."""

    @property
    def names(self) -> tuple[str, ...]:
        """The cached models, in order of eviction."""
        return tuple(self._models)

    @property
    def num_bytes(self) -> int:
        return sum(model.num_bytes for _, model in self._models.values())

    def get(self, name_or_path: str) -> LoadedModel:
        """Returns the model, and reloads it if its files have changed.

        Raises ModelTooLargeError, and TrainingError if it can't be loaded.
        """
        version = _version(name_or_path)
        held = self._models.get(name_or_path)
        if held is not None and held[0] == version:
            self._models.move_to_end(name_or_path)
            return held[1]
        del held  # Without this, the outdated model would stay in memory beside the new one.
        self._models.pop(name_or_path, None)
        self._make_room(self._expected(name_or_path))
        model = self._load(name_or_path)
        self._models[name_or_path] = (version, model)
        return model

    def drop_deleted(self) -> tuple[str, ...]:
        """Evicts models whose directories were deleted. Returns their paths."""
        gone = tuple(
            path for path, (version, _) in self._models.items() if version and not _version(path)
        )
        for path in gone:
            del self._models[path]
        if gone:
            _release()
        return gone

    def clear(self) -> None:
        """Evicts all models."""
        self._models.clear()
        _release()

    def _make_room(self, num_bytes: int) -> None:
        if num_bytes > self._max_bytes:
            raise ModelTooLargeError(
                f"the model takes {num_bytes / 2**30:.2f} GiB of memory; the limit for all loaded "
                f"models is {self._max_bytes / 2**30:.2f} GiB (FLANT5_INFERENCE_MODEL_BYTES)"
            )
        while self._models and self.num_bytes + num_bytes > self._max_bytes:
            self._models.popitem(last=False)
            _release()


def model_cache_on(device: torch.device, *, max_bytes: int, max_source_tokens: int) -> ModelCache:
    """Returns a model cache on one device."""

    def load_there(name_or_path: str) -> LoadedModel:
        return load(name_or_path, device=device, max_source_tokens=max_source_tokens)

    return ModelCache(max_bytes=max_bytes, load_model=load_there)


def _version(name_or_path: str) -> Version:
    """Returns the names, times and sizes of a directory's files. Empty for a hub name, whose files
    do not change."""
    directory = Path(name_or_path)
    if not (directory / "config.json").is_file():
        return ()
    files = (path for path in sorted(directory.iterdir()) if path.is_file())
    return tuple((path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in files)


def _release() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
