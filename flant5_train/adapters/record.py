"""`flant5_adapter.json`: what a saved adapter was trained on and how it is put together.

Beside it lie the files of `peft` (`adapter_config.json`, `adapter_model.safetensors`). Those are
written for its users and their configuration is never read here: it may name modules to import and
any model of a hub. Only a directory with this record, which a run of ours wrote, is taken for a
model. Example:

    {"base": "/models/flan-t5-xl", "num_base_tokens": 32100, "num_tokens": 32383, "rank": 16,
     "alpha": 32, "dropout": 0.05, "target_modules": ["q", "v"]}
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from flant5_train.config import Hyperparameters, TargetModule
from flant5_train.model_files import ADAPTER_RECORD, bad_model


class AdapterRecord(BaseModel):
    """The content of `flant5_adapter.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    base: str
    """The model that was trained: a hub name or an absolute directory."""
    num_base_tokens: int = Field(ge=1)
    """Tokens that the base model knew."""
    num_tokens: int = Field(ge=1)
    """Tokens of the run; the adapter holds the rows of those that the base did not know."""
    rank: int = Field(ge=1)
    alpha: int = Field(ge=1)
    dropout: float = Field(ge=0, lt=1)
    target_modules: tuple[TargetModule, ...]

    @classmethod
    def of(
        cls, hyperparameters: Hyperparameters, *, base: str | Path, tokens: tuple[int, int]
    ) -> "AdapterRecord":
        """The record of a run; `tokens` are the numbers of the base's and of the run's tokens."""
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
    """Raises TrainingError for a record that is damaged."""
    try:
        return AdapterRecord.model_validate_json((directory / ADAPTER_RECORD).read_bytes())
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"])
        found = f"its {ADAPTER_RECORD} is damaged: {place or 'file'}: {fault['msg']}"
        raise bad_model(directory, found) from error
