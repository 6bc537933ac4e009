"""A look at a model's directory before it is loaded, for an error that says what was found."""

import os
from pathlib import Path

from flant5_train.failure import FailureCode, TrainingError

ADAPTER_RECORD = "flant5_adapter.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
_PEFT_CONFIG = "adapter_config.json"
_CONFIG = "config.json"
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_PICKLES = ("*.bin", "*.bin.index.json", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
_MAX_SHOWN = 5


def refuse_directory_without_model(name_or_path: str | Path) -> None:
    """Raises TrainingError for a path that is no directory, or one that can't hold a model. A hub
    name passes: what it holds is known when it is loaded."""
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
        # transformers would follow it to the base model that it names, whatever that is.
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
            # The loader of safetensors calls it "no such file".
            raise bad_model(
                name_or_path,
                f"{file.name} may not be read by user {os.geteuid()}; expected a directory that "
                "may be (chmod -R a+rX)",
            )


def holds_adapter(name_or_path: str | Path) -> bool:
    """Whether that is the directory of an adapter which a run of ours saved."""
    return (Path(name_or_path) / ADAPTER_RECORD).is_file()


def bad_model(name_or_path: str | Path, found: str) -> TrainingError:
    """The error for a model that can't be used."""
    return TrainingError(
        FailureCode.BAD_MODEL, f"model '{name_or_path}' can't be loaded: {found}", param="model"
    )


def _instead_of_weights(directory: Path) -> str:
    """What is there. Of weights only safetensors are taken: a pickle is a program, which whoever
    loads it runs."""
    pickles = sorted(path.name for pattern in _PICKLES for path in directory.glob(pattern))
    if not pickles:
        return f"found no weights in it, but {_content(directory)}"
    return (
        f"found its weights in {pickles[0]}, a format that can run code when it is loaded (save "
        "the model anew with save_pretrained, where you trust it: docs/deploy.md has the command)"
    )


def _content(directory: Path) -> str:
    names = sorted(path.name for path in directory.iterdir())
    shown = ", ".join(names[:_MAX_SHOWN])
    more = f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
    return f"{shown}{more}" if names else "nothing at all"
