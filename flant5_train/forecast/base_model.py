"""The sizes of a base model: from its configuration where that is here, else from what was
published."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flant5_train.config import DEMO_MODEL
from flant5_train.demo_name import DEMO_SIZES, MAX_DEMO_TOKENS
from flant5_train.file_report.tokens import Tokenization
from flant5_train.flops import ModelShape
from flant5_train.weight_shapes import embedding_rows

_T5_ROWS, _T5_TOKENS = 32128, 32100
_NUM_TOKENS = {"lossless": 32369, "fastchat": 32110}
"""Of T5's vocabulary with what a tokenization adds."""

_PUBLISHED = {
    "flan-t5-small": ModelShape(512, 64, 6, 1024, 8, 8, _T5_ROWS),
    "flan-t5-base": ModelShape(768, 64, 12, 2048, 12, 12, _T5_ROWS),
    "flan-t5-large": ModelShape(1024, 64, 16, 2816, 24, 24, _T5_ROWS),
    "flan-t5-xl": ModelShape(2048, 64, 32, 5120, 24, 24, _T5_ROWS),
    "flan-t5-xxl": ModelShape(4096, 64, 64, 10240, 24, 24, _T5_ROWS),
    "fastchat-t5-3b-v1.0": ModelShape(2048, 64, 32, 5120, 24, 24, _T5_ROWS),
}
"""By the last part of their hub names."""


class UnknownSizesError(Exception):
    """The message says what was looked at."""


class _Config(BaseModel):
    """What `config.json` of a T5 says of its sizes."""

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
    """Tokens whose rows begin with the run."""

    @classmethod
    def of(cls, model: str, tokenization: Tokenization, *, num_tokens: int | None) -> Self:
        """By a name or a directory; `num_tokens` of the run where they are known. Raises
        UnknownSizesError."""
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
        return sizes, "the demo model with its largest vocabulary"
    path = Path(model)
    if path.is_absolute():
        try:
            config = _Config.model_validate_json((path / "config.json").read_bytes())
        except (OSError, ValidationError) as error:
            first = error.errors()[0] if isinstance(error, ValidationError) else None
            found = f"{first['loc']}: {first['msg']}" if first else str(error)
            raise UnknownSizesError(f"its config.json has no sizes of a T5: {found}") from error
        return config.shape, "its config.json"
    name = model.rpartition("/")[2]
    if name not in _PUBLISHED:
        raise UnknownSizesError(
            f"{model} is on a model hub, where nothing is looked up; known are the sizes of "
            + ", ".join(_PUBLISHED)
        )
    return _PUBLISHED[name], f"the published sizes of {name}"
