"""Hyperparameters and run configuration.

The API and the worker read a run's configuration on machines without torch and transformers, so
neither is imported here. `tests/flant5_train/test_config.py` asserts that each hyperparameter
exists in the trainer's own arguments.
"""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

DEMO_MODEL = "flant5-demo"
"""Built-in base model: a tiny T5 whose vocabulary is trained on the job's own file."""

Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


Batching = Literal["padded", "bucketed", "packed"]
"""Grouping of pairs into forward passes."""


Phase = Literal["preprocessing", "loading_model", "training", "evaluating", "saving", "stopping"]
"""Phases of a run."""

AcceptCheckpoint = Literal["same", "unrecorded", "changed"]
"""Checkpoints in a used output directory that a run may resume."""


class OnBadRecord(StrEnum):
    """Handling of malformed records."""

    FAIL = "fail"
    """The first malformed record ends the run; the error names its place and its problem."""
    SKIP = "skip"
    """Malformed records are left out and counted by reason."""


class OnMissingQuestion(StrEnum):
    """Handling of an answer without a question: all questions before it are blank or absent."""

    TRAIN = "train"
    """Train on it. Its encoder input is the system text or the prompt's first sentence."""
    SKIP = "skip"
    """Leave it out and count it. Later answers of the conversation keep it as context."""


FinetuningType = Literal["full", "lora", "qlora"]
"""Trained weights: all, or adapters on frozen weights."""

TargetModule = Literal["q", "k", "v", "o", "wi_0", "wi_1", "wo"]
"""Matrices of a Flan-T5 block: attention (q, k, v, o) and feed-forward (wi_0, wi_1, wo)."""

OF_LORA = ("lora_rank", "lora_alpha", "lora_dropout", "lora_target_modules")
"""Hyperparameters that apply only with `finetuning_type` lora and qlora."""


class Hyperparameters(BaseModel):
    """All tunable hyperparameters.

    Names and meanings are those of the Hugging Face `TrainingArguments` where it has them.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    num_train_epochs: float | None = Field(None, gt=0, le=1000)
    """Epochs; fractions allowed. Null chooses automatically: enough for 200 optimizer steps, at
    least 3 and at most 100."""
    max_steps: int = Field(-1, ge=-1, le=100_000_000)
    """Number of optimizer steps; -1 uses `num_train_epochs`."""
    per_device_train_batch_size: int = Field(8, ge=1, le=1024)
    """Pairs per process in one forward pass; the mean if `batching` groups pairs by length."""
    batching: Batching = "packed"
    """`padded`: random pairs, padded to the longest of the batch. `bucketed`: pairs of similar
    length within a token budget. `packed`: pairs in rows of fixed length, almost without padding;
    fastest on GPUs and CPUs. The loss of each pair is the same in all three, except that `packed`
    has no dropout of attention weights."""
    per_device_eval_batch_size: int = Field(8, ge=1, le=1024)
    """Pairs per process in one forward pass of an evaluation."""
    gradient_accumulation_steps: int = Field(1, ge=1, le=4096)
    """Forward passes per optimizer step."""
    optim: Literal["adamw_torch_fused", "adamw_torch", "adafactor"] = "adamw_torch_fused"
    """Fused AdamW, unfused AdamW, or Adafactor. Adafactor, with which T5 was trained, keeps almost
    no state (AdamW: 8 bytes per weight) and needs a higher `learning_rate` (about 1e-3)."""
    learning_rate: float | None = Field(None, gt=0, le=1)
    """Peak learning rate. Null chooses automatically: 1e-3 for base models with fewer than 20
    million weights (the demo model), 1e-4 for all others."""
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
    """Maximum global norm of the gradients, which are scaled down to it; 0 disables it."""
    model_max_length: int = Field(2048, ge=32, le=65536)
    """Token limit of the encoder side, and of the decoder side."""
    max_source_length: int | None = Field(None, ge=32, le=65536)
    """Token limit of the encoder side; null means `model_max_length`."""
    max_target_length: int | None = Field(None, ge=8, le=65536)
    """Token limit of the decoder side; null means `model_max_length`."""
    tokenization: Literal["lossless", "fastchat"] = "lossless"
    """`lossless` keeps every character and T5's word pieces; `fastchat` adds FastChat's nine
    tokens, for continuing FastChat-T5 checkpoints."""
    on_bad_record: OnBadRecord = OnBadRecord.FAIL
    """`fail` stops at the first malformed record, `skip` leaves such records out and counts
    them."""
    on_missing_question: OnMissingQuestion = OnMissingQuestion.TRAIN
    """`train` trains on answers without a preceding question, `skip` leaves them out and counts
    them. If a conversation begins with an answer, the input of that answer is only the prompt's
    first sentence."""
    validation_split: float = Field(0.0, ge=0, le=0.5)
    """Share of the conversations held back for evaluation if there is no validation file."""
    eval_steps: int = Field(100, ge=1, le=1_000_000)
    """Optimizer steps between evaluations. There is also one at the end."""
    eval_generation_samples: int = Field(0, ge=0, le=1000)
    """Validation questions that the model answers in each evaluation. Answers are scored by exact
    match and ROUGE-L over their first 256 tokens; events show a few. 0 disables it."""
    load_best_model_at_end: bool = False
    """Save a checkpoint after each evaluation with the lowest loss so far, keep the best one in
    addition to the `save_total_limit` newest, and use its weights for the final model."""
    early_stopping_patience: int = Field(0, ge=0, le=1000)
    """Stop training, with success, after this many consecutive evaluations without a lower loss. 0
    disables it."""
    early_stopping_threshold: float = Field(0.0, ge=0, le=100)
    """Minimum decrease below the best evaluation loss that counts as lower."""
    logging_steps: int = Field(1, ge=1, le=100_000)
    """Optimizer steps between reports of the loss."""
    save_steps: int = Field(200, ge=1, le=1_000_000)
    """Optimizer steps between checkpoints. There is also one at the end."""
    save_total_limit: int = Field(2, ge=1, le=1000)
    """Maximum number of complete checkpoints to keep. Older ones are deleted."""
    bf16: bool = False
    """Compute in bfloat16 under autocast; the weights stay in float32."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: saves memory, takes about a third more time."""
    sharding: Literal["none", "fsdp"] = "none"
    """`fsdp` shards weights, gradients and optimizer state over all processes, for models that
    don't fit otherwise."""
    torch_compile: bool = False
    """Compile the model's blocks before the first step, which takes about a minute. Requires
    `batching` `packed` and a GPU."""
    finetuning_type: FinetuningType = "full"
    """`full` trains all weights. `lora` freezes them and trains low-rank adapters. `qlora` is
    `lora` with the weights in 4 bits (needs an NVIDIA GPU). `lora` and `qlora` also train the rows
    of new tokens; their usual learning rate is ten times that of `full`."""
    lora_rank: int = Field(16, ge=1, le=1024)
    """Rank of the adapters: each is the product of two thin matrices of this width."""
    lora_alpha: int | None = Field(None, ge=1, le=4096)
    """The adapters are scaled by `lora_alpha / lora_rank`; null means twice the rank."""
    lora_dropout: float = Field(0.05, ge=0, lt=1)
    """Dropout of the adapters' inputs during training."""
    lora_target_modules: tuple[TargetModule, ...] = Field(get_args(TargetModule), min_length=1)
    """Matrices that get an adapter, in the encoder and the decoder; all by default."""
    num_gpus: int = Field(1, ge=1, le=64)
    """Training processes per node, one per GPU; CPU processes on a machine without GPUs."""
    num_nodes: int = Field(1, ge=1, le=64)
    """Number of workers that train together, each with `num_gpus` processes."""

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
                " different shape to compile; expected batching packed"
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
                        f"{name} is {found}, but finetuning_type is full, which does not use it; "
                        "expected finetuning_type lora or qlora"
                    )
        return self


_NEED_VALIDATION = ("load_best_model_at_end", "early_stopping_patience", "eval_generation_samples")


def idle_without_validation(settings: object) -> tuple[str, str] | None:
    """Returns the first of `settings` that has no effect without validation pairs, and an error
    message; None if all take effect.

    `settings` are hyperparameters, or the trainer's arguments of the same names.
    """
    for name in _NEED_VALIDATION:
        if value := getattr(settings, name):
            return name, (
                f"{name} is {value}, but there is nothing to evaluate on; expected a"
                " validation_file or a validation_split above 0"
            )
    return None


def setting_without_effect(settings: Hyperparameters) -> tuple[str, str] | None:
    """Returns the first of `settings` that has no effect because of another one, and an error
    message that names both; None if all take effect.

    An explicit `warmup_ratio` counts even if it equals the default.
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
                f"{name} is {value}, but optim is adafactor, which does not use it; expected a"
                f" kind of AdamW, or no {name}"
            )
    if settings.early_stopping_threshold and not settings.early_stopping_patience:
        return "early_stopping_threshold", (
            f"early_stopping_threshold is {settings.early_stopping_threshold}, but"
            " early_stopping_patience is 0, which disables early stopping; expected a patience of"
            " at least 1"
        )
    return None


class RunConfig(BaseModel):
    """`run.json`: configuration of one run, written by the worker. Paths are absolute."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model_name_or_path: str
    """A hub name, a directory, or `flant5-demo`."""
    data_path: Path
    """Training conversations."""
    validation_file: Path | None = None
    """Conversations to evaluate on."""
    run_directory: Path
    """Directory of `progress.jsonl` and `error.json`."""
    cache_directory: Path
    """Directory of encoded conversations, kept between runs."""
    models_directory: Path
    """Directory of the demo base model."""
    seed: Seed = 42
    """Seed of the data order, dropout and the validation split."""
    hyperparameters: Hyperparameters = Hyperparameters()
    accept_checkpoint: AcceptCheckpoint = "unrecorded"
    """Each job has its own run directory. A checkpoint in it without a record, or with only another
    encoding or batch plan, was saved by another version."""

    @property
    def output_dir(self) -> Path:
        """Directory of checkpoints and the final model."""
        return self.run_directory / "output"

    def write(self, path: Path) -> None:
        """Writes the flat JSON file that `python -m flant5_train.train run.json` reads.

        `num_gpus` and `num_nodes` are left out: they are arguments of torchrun.
        """
        flat: dict[str, object] = self.model_dump(mode="json", exclude={"hyperparameters"})
        flat |= self.hyperparameters.model_dump(mode="json", exclude={"num_gpus", "num_nodes"})
        flat["output_dir"] = str(self.output_dir)
        if self.hyperparameters.lr_scheduler_type == "constant":
            flat["warmup_ratio"] = 0.0  # the default applies to other schedules only
        if self.validation_file is not None:
            flat["validation_split"] = 0.0
        path.write_text(json.dumps(flat, indent=2) + "\n", encoding="utf-8")
