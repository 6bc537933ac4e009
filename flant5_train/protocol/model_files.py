"""Checks of a model's directory before it is loaded, for specific errors."""

import json
import os
from pathlib import Path

from flant5_train.config import FinetuningType
from flant5_train.protocol.failure import FailureCode, TrainingError

ADAPTER_RECORD = "flant5_adapter.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
TOKENIZER_DIRECTORY = "tokenizer"
"""Subdirectory of an adapter's tokenizer.

If the tokenizer were next to the adapter's configuration, peft's AutoPeftModelForSeq2SeqLM would
resize the base model to it and tie the output layer to the embedding. The model would answer
nonsense without a warning (peft 0.21.2 with transformers 5.23).
"""
_PEFT_CONFIG = "adapter_config.json"
_CONFIG = "config.json"
_VOCABULARY = "spiece.model"
_TOKENIZER_CONFIG = "tokenizer_config.json"
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_PICKLES = ("*.bin", "*.bin.index.json", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
_MAX_SHOWN = 5


def check_model_directory(name_or_path: str | Path) -> None:
    """Raises TrainingError for a path that is not the directory of a model.

    A hub name passes: its files are known only after the download.
    """
    path = Path(name_or_path)
    if not path.exists():
        if path.is_absolute() or str(name_or_path).startswith("."):
            raise bad_model(name_or_path, "there is no such directory")
        return
    if not path.is_dir():
        raise bad_model(name_or_path, "found a file; expected a model's directory")
    if not (path / _CONFIG).is_file():
        raise bad_model(name_or_path, f"found no {_CONFIG} in it, but {_content(path)}")
    if (path / _PEFT_CONFIG).is_file() and not holds_adapter(path):
        # transformers would load the base model that it names, whatever that is.
        raise bad_model(
            name_or_path,
            f"found an adapter of another program in it ({_PEFT_CONFIG} without {ADAPTER_RECORD}); "
            "expected a whole model: merge the adapter into its base first",
        )
    weights = (ADAPTER_WEIGHTS,) if holds_adapter(path) else _WEIGHTS
    if not any((path / name).is_file() for name in weights):
        raise bad_model(name_or_path, f"{_instead_of_weights(path)}; expected {weights[0]}")
    for file in path.iterdir():
        if not os.access(file, os.R_OK):
            # The safetensors loader reports "no such file" instead.
            raise bad_model(
                name_or_path,
                f"{file.name} is not readable by user {os.geteuid()}; expected a readable "
                "directory (chmod -R a+rX)",
            )


def refuse_unusable_model(directory: Path, *, finetuning_type: FinetuningType) -> None:
    """Raises TrainingError if the trainer would refuse the directory before loading any weight.

    Reads small files only.
    """
    check_model_directory(directory)
    _refuse_config_of_others(directory)
    if not (Path(tokenizer_directory(directory)) / _VOCABULARY).is_file():
        raise bad_model(
            directory,
            f"found no {_VOCABULARY} in it, but {_content(directory)}; expected the"
            " sentencepiece vocabulary of a T5 model",
        )
    if finetuning_type == "qlora" and holds_adapter(directory):
        raise adapter_for_qlora(directory)


def adapter_for_qlora(name_or_path: str | Path) -> TrainingError:
    """Returns the error for a QLoRA run that would start from an adapter."""
    return bad_model(
        name_or_path,
        "found the checkpoint of an adapter, which qlora can't start from; expected the final "
        f"model of its run (like {Path(name_or_path).parent}), or finetuning_type lora",
    )


def _refuse_config_of_others(directory: Path) -> None:
    try:
        config = json.loads((directory / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise bad_model(directory, f"its {_CONFIG} can't be read: {error}") from error
    model_type = config.get("model_type") if isinstance(config, dict) else None
    # transformers reads a configuration without this field as a T5 v1.0.
    is_first_kind = model_type == "t5" and config.get("tie_word_embeddings") is not False
    refuse_other_architecture(directory, model_type=model_type, is_first_kind=is_first_kind)


def refuse_other_architecture(
    name_or_path: str | Path, *, model_type: object, is_first_kind: bool
) -> None:
    """Raises TrainingError for a model that is not a Flan-T5."""
    if model_type != "t5":
        found = f"a model of type '{model_type}'"
    elif is_first_kind:
        found = "a T5 v1.0, whose output layer is tied to its embeddings"
    else:
        return
    raise TrainingError(
        FailureCode.BAD_MODEL,
        f"model '{name_or_path}': found {found}; expected a Flan-T5 (T5 v1.1) model",
        param="model",
    )


def holds_adapter(name_or_path: str | Path) -> bool:
    """Returns True for the directory of an adapter saved by this trainer."""
    return (Path(name_or_path) / ADAPTER_RECORD).is_file()


def tokenizer_directory(name_or_path: str | Path) -> str | Path:
    """Returns the directory of a model's tokenizer; hub names are returned unchanged."""
    path, inside = Path(name_or_path), Path(name_or_path) / TOKENIZER_DIRECTORY
    has_own = (path / _TOKENIZER_CONFIG).is_file()
    return inside if not has_own and (inside / _TOKENIZER_CONFIG).is_file() else name_or_path


def bad_model(name_or_path: str | Path, found: str) -> TrainingError:
    """Returns the error for a model that can't be loaded."""
    return TrainingError(
        FailureCode.BAD_MODEL, f"model '{name_or_path}' can't be loaded: {found}", param="model"
    )


def _instead_of_weights(directory: Path) -> str:
    """Returns the part of an error that names the files found instead of weights.

    Only safetensors are accepted: loading a pickle can run code.
    """
    pickles = sorted(path.name for pattern in _PICKLES for path in directory.glob(pattern))
    if not pickles:
        return f"found no weights in it, but {_content(directory)}"
    return (
        f"found its weights in {pickles[0]}, a format that can run code when it is loaded (if you "
        "trust the model, save it again with save_pretrained: docs/deploy.md has the command)"
    )


def _content(directory: Path) -> str:
    names = sorted(path.name for path in directory.iterdir())
    shown = ", ".join(names[:_MAX_SHOWN])
    more = f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
    return f"{shown}{more}" if names else "nothing at all"
