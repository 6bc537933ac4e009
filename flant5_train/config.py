"""What a training run is told: the closed list of hyperparameters and the run configuration.

Neither torch nor transformers is imported here, so that the API and the worker can read a run's
configuration on machines that have neither. `tests/flant5_train/test_config.py` asserts that each
hyperparameter exists in the trainer's own arguments.
"""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

DEMO_MODEL = "flant5-demo"
"""The built-in base model: a tiny T5 whose vocabulary is trained on the job's own file."""

Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


Batching = Literal["padded", "bucketed", "packed"]
"""How pairs share a forward pass."""


AcceptCheckpoint = Literal["same", "unrecorded", "changed"]
"""Which checkpoint in a used output directory a run goes on from."""


class OnBadRecord(StrEnum):
    """What becomes of a file that holds a malformed record."""

    FAIL = "fail"
    """The first malformed record ends the run; its place and fault are the error."""
    SKIP = "skip"
    """Malformed records are left out and counted by reason."""


class OnMissingQuestion(StrEnum):
    """What becomes of an answer with no question before it: a conversation that begins with an
    answer, or whose questions so far are blank."""

    TRAIN = "train"
    """It is trained on; its encoder input is the prompt's first sentence or the system text."""
    SKIP = "skip"
    """It is left out and counted. Later answers of the conversation still have it as context."""


FinetuningType = Literal["full", "lora", "qlora"]
"""What a run trains: all weights, or additions to frozen ones."""

TargetModule = Literal["q", "k", "v", "o", "wi_0", "wi_1", "wo"]
"""The matrices of a Flan-T5 block: of its attention (q, k, v, o), of its feed-forward part."""

OF_LORA = ("lora_rank", "lora_alpha", "lora_dropout", "lora_target_modules")
"""Hyperparameters that mean something with `finetuning_type` lora and qlora only."""


class Hyperparameters(BaseModel):
    """Everything a caller may tune; names are those of the Hugging Face `TrainingArguments`
    where it has them, so that a value means here what it means there."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    num_train_epochs: float | None = Field(None, gt=0, le=1000)
    """Passes over the training pairs; a fraction ends inside a pass. Null leaves it to the run: as
    many as give 200 optimizer steps, at least 3 and at most 100."""
    max_steps: int = Field(-1, ge=-1, le=100_000_000)
    """Optimizer steps after which training ends; -1 leaves it to `num_train_epochs`."""
    per_device_train_batch_size: int = Field(8, ge=1, le=1024)
    """Pairs per process in one forward pass; the mean where `batching` groups them by length."""
    batching: Batching = "packed"
    """`padded`: random pairs, each padded to the longest beside it. `bucketed`: pairs of similar
    length under a budget of tokens. `packed`: pairs one behind the other in rows of fixed length,
    almost without padding, fastest on GPUs and processors alike. The loss of each pair is the same
    in all three, but for the dropout of attention weights, which `packed` leaves out."""
    per_device_eval_batch_size: int = Field(8, ge=1, le=1024)
    """Pairs per process in one forward pass of an evaluation."""
    gradient_accumulation_steps: int = Field(1, ge=1, le=4096)
    """Forward passes that are summed into one optimizer step."""
    optim: Literal["adamw_torch_fused", "adamw_torch", "adafactor"] = "adamw_torch_fused"
    """AdamW in one kernel, AdamW as plain operations, or Adafactor, which T5 itself was trained
    with: it keeps almost no state (AdamW: 8 bytes per weight) and wants a higher `learning_rate`
    (about 1e-3)."""
    learning_rate: float | None = Field(None, gt=0, le=1)
    """Peak learning rate. Null leaves it to the run: 1e-3 for a base model of fewer than 20 million
    weights (the demo model), 1e-4 for all others."""
    lr_scheduler_type: Literal[
        "linear", "cosine", "constant", "constant_with_warmup", "inverse_sqrt"
    ] = "cosine"
    """Shape of the learning rate after the warm-up."""
    warmup_ratio: float = Field(0.03, ge=0, lt=1)
    """Share of all steps during which the learning rate rises from 0 to its peak."""
    weight_decay: float = Field(0.0, ge=0, le=1)
    """Decoupled weight decay."""
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
    on_missing_question: OnMissingQuestion = OnMissingQuestion.TRAIN
    """`train` trains on answers that have no question before them, `skip` leaves them out and
    counts them: in a conversation that begins with an answer, the input would be the prompt's
    first sentence alone, the same for all."""
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
    sharding: Literal["none", "fsdp"] = "none"
    """`fsdp` spreads weights, gradients and the optimizer's state over all processes instead of
    keeping them in each: for models that don't fit otherwise."""
    torch_compile: bool = False
    """Compile the model's blocks before the first step, which takes about a minute; with
    `batching` `packed`, on a GPU."""
    finetuning_type: FinetuningType = "full"
    """`full` trains all weights; `lora` keeps them and trains low-rank additions to them; `qlora`
    does so while it holds the weights in 4 bits (needs an NVIDIA GPU). With the last two, rows of
    new tokens are trained as well, and a learning rate ten times that of `full` is usual."""
    lora_rank: int = Field(16, ge=1, le=1024)
    """Rank of the additions: each of them is the product of two thin matrices of that width."""
    lora_alpha: int | None = Field(None, ge=1, le=4096)
    """The additions are scaled by `lora_alpha / lora_rank`; null means twice the rank."""
    lora_dropout: float = Field(0.05, ge=0, lt=1)
    """Share of an addition's inputs that are dropped while training."""
    lora_target_modules: tuple[TargetModule, ...] = Field(get_args(TargetModule), min_length=1)
    """Matrices that get an addition, in the encoder and the decoder; the default is all of them."""
    num_gpus: int = Field(1, ge=1, le=64)
    """Training processes per node, one per GPU; on a machine without GPUs, CPU processes."""
    num_nodes: int = Field(1, ge=1, le=64)
    """Workers that train together, each with `num_gpus` processes."""

    @model_validator(mode="after")
    def _can_be_sharded(self) -> Self:
        if self.sharding == "fsdp" and self.optim == "adafactor":
            raise ValueError(
                "sharding is fsdp and optim is adafactor, whose state can't be sharded; expected"
                " adamw_torch_fused or adamw_torch, or sharding none"
            )
        if self.sharding == "fsdp" and self.finetuning_type != "full":
            raise ValueError(
                f"sharding is fsdp and finetuning_type is {self.finetuning_type}, whose adapters"
                " can't be sharded; expected finetuning_type full, or sharding none"
            )
        return self

    @model_validator(mode="after")
    def _compiles_rows_of_one_length(self) -> Self:
        if self.torch_compile and self.batching != "packed":
            raise ValueError(
                f"torch_compile is true and batching is {self.batching}, where each batch has a"
                " shape of its own to compile for; expected batching packed"
            )
        return self

    @model_validator(mode="after")
    def _has_steps(self) -> Self:
        if self.max_steps == 0:
            raise ValueError("max_steps is 0; expected -1 (use num_train_epochs) or at least 1")
        return self

    @model_validator(mode="after")
    def _uses_what_it_is_told(self) -> Self:
        if self.finetuning_type == "full":
            for name in OF_LORA:
                if (value := getattr(self, name)) != type(self).model_fields[name].default:
                    found = json.dumps(value)
                    raise ValueError(
                        f"{name} is {found}, but finetuning_type is full, which has no use for it; "
                        "expected finetuning_type lora or qlora"
                    )
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


def setting_without_effect(settings: Hyperparameters) -> tuple[str, str] | None:
    """Returns the first of `settings` that silently does nothing beside another one, and a sentence
    that names both; None when there is no such.

    A `warmup_ratio` that was given counts even with the value of the default.
    """
    default = {name: field.default for name, field in Hyperparameters.model_fields.items()}
    has_warmup = "warmup_ratio" in settings.model_fields_set and settings.warmup_ratio > 0
    if settings.lr_scheduler_type == "constant" and has_warmup:
        return "warmup_ratio", (
            f"warmup_ratio is {settings.warmup_ratio}, but lr_scheduler_type is constant, which has"
            " no warm-up; expected lr_scheduler_type constant_with_warmup, or no warm-up"
        )
    for name in ("adam_beta1", "adam_beta2"):
        value = getattr(settings, name)
        if settings.optim == "adafactor" and value != default[name]:
            return name, (
                f"{name} is {value}, but optim is adafactor, which has no use for it; expected a"
                f" kind of AdamW, or no {name}"
            )
    if settings.early_stopping_threshold and not settings.early_stopping_patience:
        return "early_stopping_threshold", (
            f"early_stopping_threshold is {settings.early_stopping_threshold}, but"
            " early_stopping_patience is 0, so that training never stops early; expected a patience"
            " of at least 1"
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
    accept_checkpoint: AcceptCheckpoint = "unrecorded"
    """A job has a run directory of its own: a checkpoint without a record, or whose encoding or
    batch plan alone differ, is another version's."""

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
        if self.hyperparameters.lr_scheduler_type == "constant":
            flat["warmup_ratio"] = 0.0  # its default is for the other schedules
        if self.validation_file is not None:
            flat["validation_split"] = 0.0
        path.write_text(json.dumps(flat, indent=2) + "\n", encoding="utf-8")
