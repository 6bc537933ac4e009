"""Sizes of a base model, and the forecast of a run's disk usage.

The sizes come from the model's local configuration, or from a table of published models. The disk
usage is that of the checkpoints and the final model.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flant5_train.config import DEMO_MODEL, Hyperparameters
from flant5_train.estimates.checkpoint import (
    embedding_rows,
    low_rank_shapes,
    metadata_bytes,
    num_numbers,
    optimizer_state_bytes,
    weight_shapes,
)
from flant5_train.estimates.flops import ModelShape
from flant5_train.file_report.token_counts import Tokenization
from flant5_train.protocol.demo_model import DEMO_SIZES, MAX_DEMO_TOKENS
from flant5_train.protocol.forecast import DiskForecast

_T5_ROWS, _T5_TOKENS = 32128, 32100
_NUM_TOKENS = {"lossless": 32369, "fastchat": 32110}
"""Size of T5's vocabulary including the tokens that a tokenization adds."""

_PUBLISHED = {
    "flan-t5-small": ModelShape(512, 64, 6, 1024, 8, 8, _T5_ROWS),
    "flan-t5-base": ModelShape(768, 64, 12, 2048, 12, 12, _T5_ROWS),
    "flan-t5-large": ModelShape(1024, 64, 16, 2816, 24, 24, _T5_ROWS),
    "flan-t5-xl": ModelShape(2048, 64, 32, 5120, 24, 24, _T5_ROWS),
    "flan-t5-xxl": ModelShape(4096, 64, 64, 10240, 24, 24, _T5_ROWS),
    "fastchat-t5-3b-v1.0": ModelShape(2048, 64, 32, 5120, 24, 24, _T5_ROWS),
}
"""Sizes of published models, by the last part of their hub name."""


class UnknownSizesError(Exception):
    """The sizes of the base model are unknown. The message names the source that lacks them."""


class _Config(BaseModel):
    """Sizes in the `config.json` of a T5."""

    model_config = ConfigDict(extra="ignore")

    d_model: int = Field(ge=1)
    d_kv: int = Field(ge=1)
    num_heads: int = Field(ge=1)
    d_ff: int = Field(ge=1)
    num_layers: int = Field(ge=1)
    num_decoder_layers: int | None = Field(None, ge=1)
    vocab_size: int = Field(ge=1)

    @property
    def shape(self) -> ModelShape:
        decoder = self.num_decoder_layers or self.num_layers
        return ModelShape(**{**self.model_dump(), "num_decoder_layers": decoder})


@dataclass(frozen=True, slots=True)
class Base:
    """A base model with rows for the tokens of a run."""

    shape: ModelShape
    sizes_from: str
    num_new_tokens: int = 0
    """Tokens whose embedding rows are new in this run."""

    @classmethod
    def of(cls, model: str, tokenization: Tokenization, *, num_tokens: int | None) -> Self:
        """Returns the base model for a name or a directory. `num_tokens` is the run's vocabulary
        size, if known. Raises UnknownSizesError."""
        shape, sizes_from = _looked_up(model)
        is_plain = shape.vocab_size == _T5_ROWS
        if num_tokens is None:
            num_tokens = _NUM_TOKENS[tokenization] if is_plain else shape.vocab_size
        num_new_tokens = max(0, num_tokens - _T5_TOKENS) if is_plain else 0
        shape = replace(shape, vocab_size=embedding_rows(num_tokens))
        return cls(shape, sizes_from, num_new_tokens)


def _looked_up(model: str) -> tuple[ModelShape, str]:
    if model == DEMO_MODEL:
        sizes = ModelShape(**DEMO_SIZES, vocab_size=MAX_DEMO_TOKENS)
        return sizes, "the demo model with its largest vocabulary (upper bound)"
    path = Path(model)
    if path.is_absolute():
        try:
            config = _Config.model_validate_json((path / "config.json").read_bytes())
        except (OSError, ValidationError) as error:
            first = error.errors()[0] if isinstance(error, ValidationError) else None
            found = f"{first['loc']}: {first['msg']}" if first else str(error)
            raise UnknownSizesError(f"its config.json has no T5 sizes: {found}") from error
        return config.shape, "its config.json"
    name = model.rpartition("/")[2]
    if name not in _PUBLISHED:
        raise UnknownSizesError(
            f"{model} is on a model hub, which is not queried; sizes are known for "
            + ", ".join(_PUBLISHED)
        )
    return _PUBLISHED[name], f"the published sizes of {name}"


_FLOAT32_BYTES = 4


def disk_forecast(base: Base, hyperparameters: Hyperparameters, *, num_steps: int) -> DiskForecast:
    """Returns an upper bound: the best checkpoint may or may not be one of the newest."""
    trained = trained_shapes(base, hyperparameters)
    num_logs = num_steps // hyperparameters.logging_steps + num_steps // hyperparameters.eval_steps
    small = metadata_bytes(base.shape.vocab_size, num_logs=num_logs)
    trained_bytes = _FLOAT32_BYTES * num_numbers(trained)
    checkpoint = trained_bytes + optimizer_state_bytes(trained, hyperparameters.optim) + small
    model = _FLOAT32_BYTES * num_numbers(weight_shapes(base.shape)) + small
    if hyperparameters.finetuning_type != "full":
        model += trained_bytes  # adapter/
    num_kept, num_most = _num_checkpoints(hyperparameters, num_steps=num_steps)
    return DiskForecast(
        checkpoint_bytes=checkpoint,
        model_bytes=model,
        num_checkpoints=num_most,
        peak_bytes=num_most * checkpoint + model,
        kept_bytes=num_kept * checkpoint + model,
    )


def trained_shapes(base: Base, hyperparameters: Hyperparameters) -> list[tuple[int, ...]]:
    """Returns the shapes of the tensors in a checkpoint. With adapters this includes the rows of
    new tokens, in the embedding and in the output layer."""
    if hyperparameters.finetuning_type == "full":
        return weight_shapes(base.shape)
    rows = (base.num_new_tokens, base.shape.d_model)
    return [*low_rank_shapes(base.shape, rank=hyperparameters.lora_rank), rows, rows]


def _num_checkpoints(hyperparameters: Hyperparameters, *, num_steps: int) -> tuple[int, int]:
    """Returns how many checkpoints remain, and the maximum at any time: an old one is deleted after
    the new one is complete."""
    made = -(-num_steps // hyperparameters.save_steps)
    kept = hyperparameters.save_total_limit
    if hyperparameters.load_best_model_at_end:
        made += num_steps // hyperparameters.eval_steps
        kept += 1
    return min(made, kept), min(made, kept + 1)
