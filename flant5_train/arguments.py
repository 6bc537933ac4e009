"""The trainer's command line: three groups of arguments, as FastChat's train_flant5 has them."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

import torch
import transformers

from flant5_train.command_line.checks import refuse_without_effect
from flant5_train.command_line.former_names import fields_of_today, flags_of_today
from flant5_train.config import AcceptCheckpoint, Batching, TargetModule
from flant5_train.data_arguments import DataArguments
from flant5_train.process import rank


@dataclass
class ModelArguments:
    """Where training starts from."""

    model_name_or_path: str = field(
        default="google/flan-t5-small",
        metadata={"help": "A hub name, a directory, or flant5-demo (a tiny model, built here)."},
    )
    models_directory: str | None = field(
        default=None,
        metadata={"help": "Where the demo model is kept; default: inside the run directory."},
    )
    tokenization: Literal["lossless", "fastchat"] = field(
        default="lossless", metadata={"help": "fastchat adds FastChat's tokens instead of ours."}
    )
    finetuning_type: Literal["full", "lora", "qlora"] = field(
        default="full",
        metadata={"help": "lora: low-rank additions alone are trained; qlora: on 4-bit weights."},
    )
    lora_rank: int = field(default=16, metadata={"help": "Rank of the additions."})
    lora_alpha: int | None = field(
        default=None, metadata={"help": "They are scaled by alpha / rank; default: twice the rank."}
    )
    lora_dropout: float = field(default=0.05, metadata={"help": "Dropout of their inputs."})
    lora_target_modules: list[str] = field(
        default_factory=lambda: [*get_args(TargetModule)],
        metadata={"help": "Matrices that get an addition, of q k v o wi_0 wi_1 wo."},
    )


@dataclass
class TrainingArguments(transformers.TrainingArguments):
    """The Hugging Face arguments, with defaults that are right for T5."""

    output_dir: str | None = field(
        default=None, metadata={"help": "Checkpoints and the final model (required)."}
    )
    run_directory: str | None = field(
        default=None,
        metadata={"help": "Where progress.jsonl and error.json go; default: output_dir."},
    )
    model_max_length: int = field(
        default=2048,
        metadata={"help": "Limit in tokens of each side, the encoder and the decoder."},
    )
    num_train_epochs: float | None = field(  # type: ignore[assignment]
        default=3.0,
        metadata={"help": "Passes over the pairs; null in a JSON file: as many as give 200 steps."},
    )
    learning_rate: float | None = field(  # type: ignore[assignment]
        default=5e-5,
        metadata={"help": "Peak learning rate; null in a JSON file: by the base model's size."},
    )
    batching: Batching = field(
        default="packed", metadata={"help": "How pairs share a forward pass."}
    )
    warmup_ratio: float = field(
        default=0.0, metadata={"help": "Share of the steps with a rising learning rate."}
    )
    eval_generation_samples: int = field(
        default=0, metadata={"help": "Validation questions that each evaluation answers."}
    )
    early_stopping_patience: int = field(
        default=0,
        metadata={"help": "Evaluations in a row without a lower loss that end training; 0: never."},
    )
    early_stopping_threshold: float = field(
        default=0.0, metadata={"help": "By how much a loss has to be lower to count."}
    )
    sharding: Literal["none", "fsdp"] = field(
        default="none",
        metadata={"help": "fsdp spreads weights, gradients and optimizer over the processes."},
    )
    accept_checkpoint: AcceptCheckpoint = field(
        default="same",
        metadata={
            "help": "The checkpoint in a used output_dir that a run goes on from: same (that of an"
            " equal run), unrecorded (also one of another version: without a record, or with"
            " another encoding or batch plan), changed (other settings)."
        },
    )
    eval_strategy: str | None = field(  # type: ignore[assignment]
        default=None,
        metadata={"help": "no, steps or epoch; default: steps, given validation pairs."},
    )
    compiles_blocks: bool = field(default=False, init=False)
    forbids_evaluations: bool = field(default=False, init=False)
    # The data set's own columns are what the collator needs.
    remove_unused_columns: bool = False
    # A non-finite loss has to be seen, not replaced; the filter also syncs at each micro-step.
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
        # Said so, the Trainer sets up gloo between processes and allows bfloat16; not said, each
        # process on a machine without a GPU trains for itself.
        self.use_cpu = self.use_cpu or not torch.cuda.is_available()
        if self.warmup_ratio and not self.warmup_steps:
            # The name until transformers 4; 5 has a share of the steps as a fraction here.
            self.warmup_steps = self.warmup_ratio
        if self.gradient_checkpointing is not None and self.activation_checkpointing is None:
            # The old name, which everybody's commands use; the library warns about it.
            self.activation_checkpointing = self.gradient_checkpointing
            self.gradient_checkpointing = None
        # The library would compile the whole model, whose parts that change with each batch would
        # break it into pieces; ours compiles its blocks.
        self.compiles_blocks, self.torch_compile = self.torch_compile, False
        if self.fsdp:
            # What FastChat's commands say: --fsdp "full_shard auto_wrap".
            self.sharding, self.fsdp = "fsdp", None
        # The library asks for evaluations and checkpoints at the same steps. Ours may differ: an
        # evaluation that is the best so far is followed by a checkpoint.
        loads_best, self.load_best_model_at_end = self.load_best_model_at_end, False
        super().__post_init__()  # type: ignore[no-untyped-call]
        self.load_best_model_at_end = loads_best
        if self.sharding == "fsdp":
            # Here, because whoever only reads data would pay for it with 100 MB.
            from flant5_train.sharding import plugin_arguments

            self.fsdp, self.fsdp_config = True, {}  # type: ignore[assignment]
            self.fsdp_plugin_args = plugin_arguments(computes_in_bf16=self.bf16)

    @property
    def record_directory(self) -> Path:
        """Where progress.jsonl and error.json go."""
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
    """From flags, or from one JSON file (`run.json`), whose fields are the flags' names.

    Raises ValueError naming what is unknown or missing.
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
