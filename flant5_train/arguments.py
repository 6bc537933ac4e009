"""Command line of the trainer: three argument groups, as in FastChat's train_flant5.

They are the arguments of the model, the data and the training. The libraries of this module take
one second and 70 MB to import.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

import torch
import transformers

from flant5_train.command_line.checks import refuse_without_effect
from flant5_train.command_line.former_names import fields_of_today, flags_of_today
from flant5_train.config import (
    AcceptCheckpoint,
    Batching,
    OnBadRecord,
    OnMissingQuestion,
    TargetModule,
)
from flant5_train.process import rank


@dataclass
class DataArguments:
    """Data files, and the rules for reading them."""

    data_path: str = field(
        metadata={"help": "Conversations: ShareGPT JSON or JSON lines, or chat messages."}
    )
    validation_file: str | None = field(
        default=None, metadata={"help": "Conversations to evaluate on."}
    )
    validation_split: float = field(
        default=0.0, metadata={"help": "Share of the conversations held back for evaluation."}
    )
    on_bad_record: OnBadRecord = field(
        default=OnBadRecord.FAIL,
        metadata={"help": "fail at the first malformed record, or skip and count them."},
    )
    on_missing_question: OnMissingQuestion = field(
        default=OnMissingQuestion.TRAIN,
        metadata={"help": "train on answers without a preceding question, or skip and count them."},
    )
    max_source_length: int | None = field(
        default=None, metadata={"help": "Encoder limit in tokens; default: model_max_length."}
    )
    max_target_length: int | None = field(
        default=None, metadata={"help": "Decoder limit in tokens; default: model_max_length."}
    )
    cache_directory: str | None = field(
        default=None,
        metadata={"help": "Directory of encoded files; default: inside the run directory."},
    )

    def __post_init__(self) -> None:
        # The parser passes plain strings.
        self.on_bad_record = OnBadRecord(self.on_bad_record)
        self.on_missing_question = OnMissingQuestion(self.on_missing_question)


@dataclass
class ModelArguments:
    """Base model, tokenization, and LoRA settings."""

    model_name_or_path: str = field(
        default="google/flan-t5-small",
        metadata={"help": "A hub name, a directory, or flant5-demo (a tiny model, built here)."},
    )
    models_directory: str | None = field(
        default=None,
        metadata={"help": "Directory of demo models; default: inside the run directory."},
    )
    tokenization: Literal["lossless", "fastchat"] = field(
        default="lossless", metadata={"help": "fastchat adds FastChat's tokens instead of ours."}
    )
    finetuning_type: Literal["full", "lora", "qlora"] = field(
        default="full",
        metadata={"help": "lora: train low-rank adapters only; qlora: on 4-bit weights."},
    )
    lora_rank: int = field(default=16, metadata={"help": "Rank of the LoRA adapters."})
    lora_alpha: int | None = field(
        default=None, metadata={"help": "Scale of the adapters is alpha / rank; default: 2 * rank."}
    )
    lora_dropout: float = field(default=0.05, metadata={"help": "Dropout of the adapters' inputs."})
    lora_target_modules: list[str] = field(
        default_factory=lambda: [*get_args(TargetModule)],
        metadata={"help": "Matrices that get an adapter, of q k v o wi_0 wi_1 wo."},
    )


@dataclass
class TrainingArguments(transformers.TrainingArguments):
    """Hugging Face training arguments with defaults that suit T5."""

    output_dir: str | None = field(
        default=None, metadata={"help": "Checkpoints and the final model (required)."}
    )
    run_directory: str | None = field(
        default=None,
        metadata={"help": "Directory of progress.jsonl and error.json; default: output_dir."},
    )
    model_max_length: int = field(
        default=2048,
        metadata={"help": "Token limit of the encoder input and of the decoder target."},
    )
    num_train_epochs: float | None = field(  # type: ignore[assignment]
        default=3.0,
        metadata={"help": "Epochs; null in a JSON file: enough for 200 steps."},
    )
    learning_rate: float | None = field(  # type: ignore[assignment]
        default=5e-5,
        metadata={"help": "Peak learning rate; null in a JSON file: chosen by model size."},
    )
    batching: Batching = field(
        default="packed", metadata={"help": "Grouping of pairs into forward passes."}
    )
    warmup_ratio: float = field(
        default=0.0, metadata={"help": "Share of the steps with a rising learning rate."}
    )
    eval_generation_samples: int = field(
        default=0, metadata={"help": "Validation questions answered in each evaluation."}
    )
    early_stopping_patience: int = field(
        default=0,
        metadata={"help": "Stop after this many evaluations without a lower loss; 0: never."},
    )
    early_stopping_threshold: float = field(
        default=0.0, metadata={"help": "Minimum decrease of the loss that counts as lower."}
    )
    sharding: Literal["none", "fsdp"] = field(
        default="none",
        metadata={"help": "fsdp shards weights, gradients and optimizer over the processes."},
    )
    accept_checkpoint: AcceptCheckpoint = field(
        default="same",
        metadata={
            "help": "Checkpoints in a used output_dir that a run may resume: same (of an equal"
            " run), unrecorded (also of another version: without a record, or with another"
            " encoding or batch plan), changed (also with other settings)."
        },
    )
    eval_strategy: str | None = field(  # type: ignore[assignment]
        default=None,
        metadata={"help": "no, steps or epoch; default: steps if there are validation pairs."},
    )
    compiles_blocks: bool = field(default=False, init=False)
    forbids_evaluations: bool = field(default=False, init=False)
    # The collator needs the data set's own columns.
    remove_unused_columns: bool = False
    # Guards must see a non-finite loss. The filter hides it, and syncs at each micro-step.
    logging_nan_inf_filter: bool = False
    # Every parameter of a T5 takes part in every step.
    ddp_find_unused_parameters: bool | None = False
    disable_tqdm: bool | None = True
    logging_steps: float = 1
    save_steps: float = 200

    def __post_init__(self) -> None:
        if self.output_dir is None:
            raise ValueError("--output_dir is missing; expected the directory of the result")
        refuse_without_effect(self)
        self.forbids_evaluations = self.eval_strategy == "no"
        self.eval_strategy = self.eval_strategy or "no"
        # With `use_cpu`, the Trainer sets up gloo between processes and allows bfloat16. Without
        # it, each process on a machine without a GPU trains alone.
        self.use_cpu = self.use_cpu or not torch.cuda.is_available()
        if self.warmup_ratio and not self.warmup_steps:
            # transformers 4 has `warmup_ratio`; 5 takes a fraction of the steps here.
            self.warmup_steps = self.warmup_ratio
        if self.gradient_checkpointing is not None and self.activation_checkpointing is None:
            # Most commands use the old name, which the library warns about.
            self.activation_checkpointing = self.gradient_checkpointing
            self.gradient_checkpointing = None
        # The library would compile the whole model, with graph breaks at the parts that change
        # with each batch. FlanT5 compiles its blocks instead.
        self.compiles_blocks, self.torch_compile = self.torch_compile, False
        if self.fsdp:
            # FastChat's commands use --fsdp "full_shard auto_wrap".
            self.sharding, self.fsdp = "fsdp", None
        # The library requires evaluations and checkpoints at the same steps. Here they may differ:
        # a checkpoint follows each evaluation with the lowest loss so far.
        loads_best, self.load_best_model_at_end = self.load_best_model_at_end, False
        super().__post_init__()  # type: ignore[no-untyped-call]
        self.load_best_model_at_end = loads_best
        if self.sharding == "fsdp":
            # Imported here: it takes 100 MB, which processes that only read data don't need.
            from flant5_train.training.fsdp import plugin_arguments

            self.fsdp, self.fsdp_config = True, {}  # type: ignore[assignment]
            self.fsdp_plugin_args = plugin_arguments(computes_in_bf16=self.bf16)

    @property
    def record_directory(self) -> Path:
        """Directory of progress.jsonl and error.json."""
        assert self.output_dir is not None, "__post_init__ requires it"
        return Path(self.run_directory or self.output_dir)


@dataclass(frozen=True, slots=True)
class Arguments:
    """One run's arguments, with every default directory filled in."""

    model: ModelArguments
    data: DataArguments
    training: TrainingArguments


class _Parser(transformers.HfArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raises ValueError, where argparse would print its usage and exit."""
        raise ValueError(message)


def _json_object(path: Path) -> dict[str, object]:
    fields = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(fields, dict):
        raise ValueError(f"{path.name}: found {type(fields).__name__}; expected a JSON object")
    return fields


def parse_arguments(argv: list[str]) -> Arguments:
    """Parses flags, or one JSON file (`run.json`) whose fields are named like the flags.

    Raises ValueError that names the unknown or missing argument.
    """
    groups: Any = (ModelArguments, DataArguments, TrainingArguments)
    parser = _Parser(groups, allow_abbrev=False)
    known = [each.name for group in groups for each in dataclasses.fields(group) if each.init]
    logs = rank() == 0
    if len(argv) == 1 and argv[0].endswith(".json"):
        fields = _json_object(Path(argv[0]))
        model, data, training = parser.parse_dict(fields_of_today(fields, known=known, logs=logs))
    else:
        flags = flags_of_today(argv, known=known, logs=logs)
        model, data, training = parser.parse_args_into_dataclasses(flags)
    if data.validation_file and data.validation_split:
        raise ValueError(
            f"validation_split is {data.validation_split}, but there is a validation_file;"
            " expected one of them"
        )
    inside = training.record_directory
    return Arguments(
        model=dataclasses.replace(
            model, models_directory=model.models_directory or str(inside / "models")
        ),
        data=dataclasses.replace(
            data, cache_directory=data.cache_directory or str(inside / "cache")
        ),
        training=training,
    )
