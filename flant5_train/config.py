"""What a training run is told: the closed list of hyperparameters and the run configuration.

Neither torch nor transformers is imported here, so that the API and the worker can read a run's
configuration on machines that have neither. `tests/flant5_train/test_config.py` asserts that each
hyperparameter exists in the trainer's own arguments.
"""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

DEMO_MODEL = "flant5-demo"
"""The built-in base model: a tiny T5 whose vocabulary is trained on the job's own file."""

Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


Batching = Literal["padded", "bucketed", "packed"]
"""How pairs share a forward pass."""


class OnBadRecord(StrEnum):
    """What becomes of a file that holds a malformed record."""

    FAIL = "fail"
    """The first malformed record ends the run; its place and fault are the error."""
    SKIP = "skip"
    """Malformed records are left out and counted by reason."""


class Hyperparameters(BaseModel):
    """Everything a caller may tune; names are those of the Hugging Face `TrainingArguments`
    where it has them, so that a value means here what it means there."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    num_train_epochs: float = Field(3.0, gt=0, le=1000)
    """Passes over the training pairs; a fraction ends inside a pass."""
    max_steps: int = Field(-1, ge=-1, le=100_000_000)
    """Optimizer steps after which training ends; -1 leaves it to `num_train_epochs`."""
    per_device_train_batch_size: int = Field(8, ge=1, le=1024)
    """Pairs per process in one forward pass; the mean where `batching` groups them by length."""
    batching: Batching = "padded"
    """`padded`: random pairs, each padded to the longest beside it. `bucketed`: pairs of similar
    length under a budget of tokens. `packed`: pairs one behind the other in rows of fixed length,
    almost without padding. The loss of each pair is the same in all three."""
    per_device_eval_batch_size: int = Field(8, ge=1, le=1024)
    """Pairs per process in one forward pass of an evaluation."""
    gradient_accumulation_steps: int = Field(1, ge=1, le=4096)
    """Forward passes that are summed into one optimizer step."""
    learning_rate: float = Field(1e-4, gt=0, le=1)
    """Peak learning rate of AdamW."""
    lr_scheduler_type: Literal[
        "linear", "cosine", "constant", "constant_with_warmup", "inverse_sqrt"
    ] = "cosine"
    """Shape of the learning rate after the warm-up."""
    warmup_ratio: float = Field(0.03, ge=0, lt=1)
    """Share of all steps during which the learning rate rises from 0 to its peak."""
    weight_decay: float = Field(0.0, ge=0, le=1)
    """Decoupled weight decay of AdamW."""
    adam_beta1: float = Field(0.9, ge=0, lt=1)
    """First-moment decay of AdamW."""
    adam_beta2: float = Field(0.999, ge=0, lt=1)
    """Second-moment decay of AdamW."""
    max_grad_norm: float = Field(1.0, ge=0, le=1000)
    """Gradients with a larger global norm are scaled down to it; 0 turns this off."""
    model_max_length: int = Field(2048, ge=32, le=65536)
    """Limit in tokens of the encoder and of the decoder side, each for itself."""
    max_source_length: int | None = Field(None, ge=32, le=65536)
    """Limit in tokens of the encoder side alone; null means `model_max_length`."""
    max_target_length: int | None = Field(None, ge=8, le=65536)
    """Limit in tokens of the decoder side alone; null means `model_max_length`."""
    tokenization: Literal["lossless", "fastchat"] = "lossless"
    """`lossless` keeps every character and T5's word pieces; `fastchat` adds FastChat's nine
    tokens, for continuing FastChat-T5 checkpoints."""
    on_bad_record: OnBadRecord = OnBadRecord.FAIL
    """`fail` stops at the first malformed record, `skip` leaves such records out and counts
    them."""
    validation_split: float = Field(0.0, ge=0, le=0.5)
    """Share of the conversations held back for evaluation when no validation file is given."""
    eval_steps: int = Field(100, ge=1, le=1_000_000)
    """Optimizer steps between two evaluations (and one at the end)."""
    eval_generation_samples: int = Field(0, ge=0, le=1000)
    """Validation questions that each evaluation has the model answer, scored by exact match and
    ROUGE-L over their first 256 tokens; a few are told as events. 0 turns this off."""
    load_best_model_at_end: bool = False
    """Save a checkpoint after each evaluation with the lowest loss so far, keep the best one beside
    the `save_total_limit` newest, and make its weights the final model."""
    early_stopping_patience: int = Field(0, ge=0, le=1000)
    """End training, with success, after so many evaluations in a row without a lower loss; 0 turns
    this off."""
    early_stopping_threshold: float = Field(0.0, ge=0, le=100)
    """By how much an evaluation's loss has to be below the best one to count as lower."""
    logging_steps: int = Field(1, ge=1, le=100_000)
    """Optimizer steps between two reports of the loss."""
    save_steps: int = Field(200, ge=1, le=1_000_000)
    """Optimizer steps between two checkpoints (and one at the end)."""
    save_total_limit: int = Field(2, ge=1, le=1000)
    """Complete checkpoints kept; older ones are deleted."""
    bf16: bool = False
    """Compute in bfloat16 under autocast; the weights stay in float32."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""
    num_gpus: int = Field(1, ge=1, le=64)
    """Training processes per node, one per GPU; on a machine without GPUs, CPU processes."""
    num_nodes: int = Field(1, ge=1, le=64)
    """Workers that train together, each with `num_gpus` processes."""

    @model_validator(mode="after")
    def _has_steps(self) -> Self:
        if self.max_steps == 0:
            raise ValueError("max_steps is 0; expected -1 (use num_train_epochs) or at least 1")
        return self


_NEED_VALIDATION = ("load_best_model_at_end", "early_stopping_patience", "eval_generation_samples")


def idle_without_validation(settings: object) -> tuple[str, str] | None:
    """The first of `settings` that silently does nothing in a run without validation pairs, and a
    sentence that says so; None when there is no such. `settings` are hyperparameters, or the
    trainer's arguments of the same names."""
    for name in _NEED_VALIDATION:
        if value := getattr(settings, name):
            return name, (
                f"{name} is {value}, but there is nothing to evaluate on; expected a"
                " validation_file or a validation_split above 0"
            )
    return None


class RunConfig(BaseModel):
    """`run.json`: one run of the trainer, as its worker tells it. Paths are absolute."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model_name_or_path: str
    """A hub name, a directory, or `flant5-demo`."""
    data_path: Path
    """Training conversations."""
    validation_file: Path | None = None
    """Conversations to evaluate on."""
    run_directory: Path
    """Where `progress.jsonl` and `error.json` are written."""
    cache_directory: Path
    """Where encoded conversations are kept between runs."""
    models_directory: Path
    """Where the demo base model is kept."""
    seed: Seed = 42
    """Seed of the data order, the dropout and the validation split."""
    hyperparameters: Hyperparameters = Hyperparameters()

    @property
    def output_dir(self) -> Path:
        """Checkpoints and the final model."""
        return self.run_directory / "output"

    def write(self, path: Path) -> None:
        """Write the flat JSON file that `python -m flant5_train.train run.json` reads.

        `num_gpus` and `num_nodes` are left out: they are torchrun's arguments, not the trainer's.
        """
        flat: dict[str, object] = self.model_dump(mode="json", exclude={"hyperparameters"})
        flat |= self.hyperparameters.model_dump(mode="json", exclude={"num_gpus", "num_nodes"})
        flat["output_dir"] = str(self.output_dir)
        path.write_text(json.dumps(flat, indent=2) + "\n", encoding="utf-8")
