"""Run metadata shown in the model card."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from flant5_train.arguments import Arguments, TrainingArguments
from flant5_train.config import DEMO_MODEL, OF_LORA, Hyperparameters
from flant5_train.protocol.progress import PROGRESS_FILE
from flant5_train.resume.record import Change

_NAMED_OTHERWISE = {
    "gradient_checkpointing": "activation_checkpointing",
    "torch_compile": "compiles_blocks",
}
"""Names of the trainer's arguments that differ from the hyperparameter's name."""
_CONTENTS = ("output", "content")
"""Names that the service gives to every job's result and every uploaded file's content. The parent
directory has the distinct name."""


@dataclass(frozen=True, slots=True)
class Told:
    """Metadata of a run, from its arguments before any is adjusted."""

    base_model: str
    is_on_hub: bool
    """True when `base_model` may be a hub name."""
    training_data: str
    validation_data: str | None
    seed: int
    hyperparameters: Mapping[str, object]
    progress_file: Path
    """The file with the run's records."""
    changes: tuple[Change, ...] = ()
    """Checkpoints from which the run was resumed with other values."""

    @classmethod
    def of(cls, arguments: Arguments) -> "Told":
        name, validation = arguments.model.model_name_or_path, arguments.data.validation_file
        is_directory = Path(name).is_dir()
        return cls(
            base_model=_name_of(Path(name)) if is_directory else name,
            is_on_hub=not is_directory and name != DEMO_MODEL,
            training_data=_name_of(Path(arguments.data.data_path)),
            validation_data=None if validation is None else _name_of(Path(validation)),
            seed=arguments.training.seed,
            hyperparameters=_hyperparameters(arguments),
            progress_file=arguments.training.record_directory / PROGRESS_FILE,
        )

    def settled(self, training: TrainingArguments) -> "Told":
        """Returns a copy with the values that the run chose automatically."""
        chosen = {
            name: getattr(training, name)
            for name in ("num_train_epochs", "learning_rate")
            if self.hyperparameters.get(name) is None
        }
        return replace(self, hyperparameters={**self.hyperparameters, **chosen})


def _name_of(path: Path) -> str:
    """Returns the name of a model or a file, without its path on this machine.

    >>> _name_of(Path("/srv/models/flan-t5-xl")), _name_of(Path("/srv/jobs/ftjob-a/output"))
    ('flan-t5-xl', 'ftjob-a')
    """
    path = path.absolute()
    return (path.parent if path.name in _CONTENTS else path).name


def _hyperparameters(arguments: Arguments) -> dict[str, object]:
    """Returns the hyperparameters in the order of their documentation. LoRA settings are left out
    for full fine-tuning."""
    groups = (arguments.model, arguments.data, arguments.training)
    has_adapter = arguments.model.finetuning_type != "full"
    found: dict[str, object] = {}
    for name in Hyperparameters.model_fields:
        own = _NAMED_OTHERWISE.get(name, name)
        values: list[Any] = [getattr(group, own) for group in groups if hasattr(group, own)]
        if values and (has_adapter or name not in OF_LORA):
            value = values[0]
            found[name] = value.value if isinstance(value, Enum) else value
    return found
