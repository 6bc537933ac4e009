"""Tokenizer files: location, and compatibility with transformers 4 and 5."""

import json
from pathlib import Path
from typing import Any

from transformers.utils.hub import cached_file

from flant5_train.hub_refusal import token_hint
from flant5_train.protocol.failure import FailureCode, TrainingError
from flant5_train.protocol.model_files import tokenizer_directory
from flant5_train.rust_tokenizer import SENTINELS

SENTENCEPIECE_FILE = "spiece.model"
_CONFIG, _TOKENIZER = "tokenizer_config.json", "tokenizer.json"
_OF_OTHERS = ("backend", "extra_special_tokens", "is_local", "local_files_only", "add_prefix_space")
"""Settings of transformers 5 that 4.x does not know. With the last one, 4.x rebuilds the tokenizer
from the sentencepiece model (4.46.3, 4.57.6)."""


def sentencepiece_file(name_or_path: str | Path) -> Path:
    """Returns the vocabulary file of a hub model or a directory.

    Raises TrainingError if there is none.
    """
    try:
        found = cached_file(str(tokenizer_directory(name_or_path)), SENTENCEPIECE_FILE)
    except OSError as error:
        raise TrainingError(
            FailureCode.BAD_MODEL,
            f"model '{name_or_path}': {SENTENCEPIECE_FILE} could not be read ({error}); expected a"
            f" T5 model with its sentencepiece vocabulary.{token_hint(error)}",
            param="model",
        ) from error
    assert found is not None, "cached_file raises for a missing file"
    return Path(found)


def make_loadable_everywhere(directory: Path, sentencepiece_model: bytes) -> tuple[str, ...]:
    """Completes the files of transformers 5's `save_pretrained`, and returns the added files.

    transformers 5 writes its own class name and a list of `extra_special_tokens`. 4.x knows
    neither, and reads the ids of added tokens from the configuration. Without `model_input_names`,
    4.x passes `token_type_ids` to a T5, which `generate` refuses.
    """
    settings = json.loads((directory / _CONFIG).read_text(encoding="utf-8"))
    for name in _OF_OTHERS:
        settings.pop(name, None)
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    settings["additional_special_tokens"] = SENTINELS
    settings["added_tokens_decoder"] = _added_tokens(directory)
    settings["model_input_names"] = ["input_ids", "attention_mask"]
    text = json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
    (directory / _CONFIG).write_text(text, encoding="utf-8")
    model = directory / SENTENCEPIECE_FILE
    model.write_bytes(sentencepiece_model)
    return (str(model),)


def _added_tokens(directory: Path) -> dict[str, Any]:
    tokenizer = json.loads((directory / _TOKENIZER).read_text(encoding="utf-8"))
    return {str(token.pop("id")): token for token in tokenizer["added_tokens"]}
