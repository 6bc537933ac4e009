"""Argument names of FastChat and older versions of transformers.

A renamed argument is read under its new name. An argument whose value requests what happens anyway
is ignored. Both are logged. Any other is refused, with the alternative. Two names of one argument
with different values are refused too: only one could take effect.
"""

import difflib
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

_NONE = ("none", "null", "")
_OFF = ("false", "0", "no", *_NONE)
_SWITCHED_OFF = ("false", "0", "no", "")
_SWITCHED_ON = ("true", "1", "yes")


@dataclass(frozen=True, slots=True)
class FormerName:
    """A former argument."""

    new: str | None = None
    """The current name."""
    harmless: tuple[str, ...] = ()
    """Lowercase values that are ignored, since they request what happens anyway; `*` means any."""
    value: str | None = None
    """The value of the new argument if the old one is on."""
    note: str = ""
    """The argument to use instead, or the reason why nothing needs to be done."""


def _renamed(new: str) -> FormerName:
    return FormerName(new=new)


def _switch(new: str, value: str) -> FormerName:
    return FormerName(new=new, value=value, harmless=_SWITCHED_OFF)


def _gone(note: str, *harmless: str) -> FormerName:
    return FormerName(note=note, harmless=harmless or _OFF)


_PLAIN_DATA = "conversations are encoded once and mapped from disk"
_ONE_PROCESS_PER_GPU = "start one process per GPU by torchrun"
_GENERATION = "use eval_generation_samples"
_FSDP = "sharding fsdp shards each T5Block"
_HUB = "upload the finished directory with `hf upload`"

FORMER_NAMES: Mapping[str, FormerName] = {
    # FastChat
    "lazy_preprocess": _gone(_PLAIN_DATA, "*"),
    "preprocessed_path": FormerName(
        new="cache_directory", note="its directory is used; a file that FastChat wrote isn't read"
    ),
    "num_data": _gone("shorten the data file instead", "-1"),
    "eval_data_path": _renamed("validation_file"),
    "cache_dir": _gone("set the environment variable HF_HOME", *_NONE),
    "trust_remote_code": _gone("code from a model's repository is never run"),
    "padding_side": _gone("batches are padded on the right", "right"),
    "lora_r": _renamed("lora_rank"),
    "lora_bias": _gone("biases are not trained", "none"),
    "lora_weight_path": _gone("set model_name_or_path to the adapter's directory", *_NONE),
    "q_lora": _switch("finetuning_type", "qlora"),
    "flash_attn": _gone("batching packed has its own attention kernel"),
    # transformers
    "evaluation_strategy": _renamed("eval_strategy"),
    "evaluate_during_training": _switch("eval_strategy", "steps"),
    "no_cuda": _switch("use_cpu", "True"),
    "use_mps_device": _gone("Apple's GPUs are not supported"),
    "per_gpu_train_batch_size": _renamed("per_device_train_batch_size"),
    "per_gpu_eval_batch_size": _renamed("per_device_eval_batch_size"),
    "adafactor": _switch("optim", "adafactor"),
    "group_by_length": _switch("batching", "bucketed"),
    "overwrite_output_dir": _gone(
        "remove the directory or choose another output_dir for a new run; a used one can only be"
        " resumed"
    ),
    "logging_dir": _gone("the curves for TensorBoard are in run_directory/tensorboard", *_NONE),
    "save_safetensors": _gone("weights are saved as safetensors only", "true", "1", "yes", ""),
    "fsdp_transformer_layer_cls_to_wrap": _gone(_FSDP, "t5block", *_NONE),
    "fsdp_min_num_params": _gone(_FSDP, "0", *_NONE),
    "sharded_ddp": _gone("use sharding fsdp", *_NONE),
    "fp16_opt_level": _gone("T5 overflows in float16; use bf16", "o1"),
    "fp16_backend": _gone("T5 overflows in float16; use bf16", "auto"),
    "half_precision_backend": _gone("bf16 is torch's autocast", "auto", "amp", "cuda_amp"),
    "xpu_backend": _renamed("ddp_backend"),
    "mp_parameters": _gone(_ONE_PROCESS_PER_GPU, *_NONE),
    "model_parallel": _gone("use sharding fsdp"),
    "past_index": _gone("a T5 carries no state between batches", "-1"),
    "jit_mode_eval": _gone("evaluations are not compiled"),
    "use_ipex": _gone("Intel's extension is not installed"),
    "torchdynamo": _gone("use torch_compile", *_NONE),
    "ray_scope": _gone("there is no hyperparameter search", "last", *_NONE),
    "tpu_num_cores": _gone("TPUs are not supported", *_NONE),
    "tpu_metrics_debug": _gone("TPUs are not supported"),
    "split_batches": _gone("each process plans and reads its own batches"),
    "dispatch_batches": _gone("each process plans and reads its own batches"),
    "use_legacy_prediction_loop": _gone("evaluations use the trainer's own loop"),
    "include_inputs_for_metrics": _gone("evaluations use the trainer's own metrics"),
    "include_tokens_per_second": _gone("tokens per second are always reported", "*"),
    "predict_with_generate": _gone(_GENERATION),
    "generation_max_length": _gone(_GENERATION, *_NONE),
    "generation_num_beams": _gone(_GENERATION, "1", *_NONE),
    "sortish_sampler": _switch("batching", "bucketed"),
    "push_to_hub_model_id": _gone(_HUB, *_NONE),
    "push_to_hub_organization": _gone(_HUB, *_NONE),
    "push_to_hub_token": _gone(_HUB, *_NONE),
    # example programs of transformers
    "train_file": _renamed("data_path"),
    "max_train_samples": _gone("shorten the data file instead", *_NONE),
    "max_eval_samples": _gone("shorten the data file instead", *_NONE),
    "overwrite_cache": _gone("a changed file is encoded again automatically"),
    "model_name": _renamed("model_name_or_path"),
}


def flags_of_today(argv: Iterable[str], *, known: Iterable[str], logs: bool) -> list[str]:
    """Returns the command line with current names. Raises ValueError for an unknown argument."""
    names, spellings = [*known], _Spellings()
    found: list[str] = []
    for name, values in _flags(argv):
        if name is None:
            found += values
            continue
        given = " ".join(values) if values else "true"
        for new, value in _today({name: given}, names, logs=logs):
            spellings.add(new, name, value)
            is_kept = new == name
            found += [f"--{new}", *(values if is_kept else [str(value)])]
    return found


def fields_of_today(
    fields: Mapping[str, object], *, known: Iterable[str], logs: bool
) -> dict[str, object]:
    """Like `flags_of_today`, for the fields of a JSON file."""
    names, spellings = [*known], _Spellings()
    found: dict[str, object] = {}
    for name, given in fields.items():
        for new, value in _today({name: given}, names, logs=logs):
            spellings.add(new, name, value)
            found[new] = value
    return found


class _Spellings:
    """Names and values with which each argument was given so far."""

    def __init__(self) -> None:
        self._given: dict[str, tuple[str, str]] = {}

    def add(self, new: str, name: str, value: object) -> None:
        """Records an argument. Raises ValueError if it was given by another name with another
        value. The same name may be repeated on a command line: the last value counts."""
        text = str(value)
        before, its_text = self._given.setdefault(new, (name, text))
        if before != name and _comparable(its_text) != _comparable(text):
            first, second = (
                f"{each} ({new}={value})" if each != new else f"{each}={value}"
                for each, value in ((before, its_text), (name, text))
            )
            raise ValueError(f"{first} and {second} contradict each other; expected one of them")
        self._given[new] = name, text


def _flags(argv: Iterable[str]) -> Iterator[tuple[str | None, list[str]]]:
    """Yields each flag with the values after it; None for values before the first flag.

    ["--no_cuda", "--lr=1", "--fsdp", "a b"] -> ("no_cuda", []), ("lr", ["1"]), ("fsdp", ["a b"])
    """
    name: str | None = None
    values: list[str] = []
    for text in argv:
        if not text.startswith("--"):
            values.append(text)
            continue
        if name is not None or values:
            yield name, values
        flag, is_assigned, value = text[2:].partition("=")
        name, values = flag.replace("-", "_"), [value] if is_assigned else []
    if name is not None or values:
        yield name, values


def _today(
    fields: Mapping[str, object], known: list[str], *, logs: bool
) -> Iterator[tuple[str, object]]:
    for name, value in fields.items():
        former = None if name in known else FORMER_NAMES.get(name)
        if former is None:
            if name not in known and not _is_switch_off(name, known):
                raise ValueError(_unknown(name, known))
            yield name, value
            continue
        is_harmless = "*" in former.harmless or _lower(value) in former.harmless
        text = "(set)" if name.endswith("token") else str(value)
        if is_harmless:
            reason = former.note or f"the current name is {former.new}"
            _log(logs, f"argument: {name}={text} is ignored: {reason}")
        elif former.new is None:
            raise ValueError(
                f"{name} is {text!r}, which this trainer does not support: {former.note}"
            )
        else:
            new_value = _new_value(former, name, value)
            note = f" ({former.note})" if former.note else ""
            _log(logs, f"argument: {name}={text} is read as {former.new}={new_value}{note}")
            yield former.new, new_value


def _new_value(former: FormerName, name: str, value: object) -> object:
    if former.value is not None:
        if _lower(value) not in _SWITCHED_ON:
            raise ValueError(f"{name} is {value!r}; expected true or false")
        return True if former.value == "True" else former.value
    if name == "preprocessed_path":
        return str(Path(str(value)).absolute().parent)
    return value


def _lower(value: object) -> str:
    """Returns the text of a value in lower case; empty for JSON's null or an empty list."""
    return "" if value is None or value == [] else str(value).lower()


def _comparable(text: str) -> str:
    """Normalizes all spellings of true and false."""
    if text.lower() in _SWITCHED_ON:
        return "true"
    return "false" if text.lower() in _SWITCHED_OFF else text


def _is_switch_off(name: str, known: list[str]) -> bool:
    """Returns True for `--no_x`, which the parser defines for arguments that are on by default."""
    return name == "help" or name.removeprefix("no_") in known


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else "; `--help` lists all"
    return f"{name} is not an argument of this trainer{hint}"


def _log(logs: bool, line: str) -> None:
    if logs:
        logger.warning("%s", line)
        sys.stderr.flush()
