"""Adapter record `flant5_adapter.json`: the base model of a saved adapter, and its settings.

The files of `peft` (`adapter_config.json`, `adapter_model.safetensors`) are in the same directory.
flant5 writes peft's configuration for its users and never reads it: it may name modules to import,
or any model on a hub. Only a directory with this record, written by flant5, is accepted as a model.
Example:

    {"base": "/models/flan-t5-xl", "num_base_tokens": 32100, "num_tokens": 32383, "rank": 16,
     "alpha": 32, "dropout": 0.05, "target_modules": ["q", "v"]}
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flant5_train.config import Hyperparameters, TargetModule
from flant5_train.protocol.model_files import ADAPTER_RECORD, bad_model


class AdapterRecord(BaseModel):
    """The content of `flant5_adapter.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    base: str
    """The base model: a hub name or an absolute directory."""
    num_base_tokens: int = Field(ge=1)
    """Vocabulary size of the base model."""
    num_tokens: int = Field(ge=1)
    """Vocabulary size of the run. The adapter holds the rows of tokens that the base lacks."""
    rank: int = Field(ge=1)
    alpha: int = Field(ge=1)
    dropout: float = Field(ge=0, lt=1)
    target_modules: tuple[TargetModule, ...]

    @classmethod
    def of(
        cls, hyperparameters: Hyperparameters, *, base: str | Path, tokens: tuple[int, int]
    ) -> "AdapterRecord":
        """Returns the record of a run; `tokens` are the vocabulary sizes of base and run."""
        rank = hyperparameters.lora_rank
        return cls(
            base=str(Path(base).resolve() if Path(base).exists() else base),
            num_base_tokens=min(tokens),
            num_tokens=tokens[1],
            rank=rank,
            alpha=hyperparameters.lora_alpha or 2 * rank,
            dropout=hyperparameters.lora_dropout,
            target_modules=hyperparameters.lora_target_modules,
        )

    @property
    def new_rows(self) -> list[int]:
        """The tokens whose rows are trained, in the input embedding and in the output layer."""
        return [*range(self.num_base_tokens, self.num_tokens)]

    def write(self, directory: Path) -> None:
        text = self.model_dump_json(indent=2) + "\n"
        (directory / ADAPTER_RECORD).write_text(text, encoding="utf-8")


def read_record(directory: Path) -> AdapterRecord:
    """Returns the record in a directory. Raises TrainingError if it is damaged."""
    try:
        return AdapterRecord.model_validate_json((directory / ADAPTER_RECORD).read_bytes())
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"])
        found = f"its {ADAPTER_RECORD} is damaged: {place or 'file'}: {fault['msg']}"
        raise bad_model(directory, found) from error
