"""Tokenizers by name or directory: `lossless` (the default) and `fastchat`."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from google.protobuf.message import DecodeError
from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast, T5Tokenizer
from transformers.utils.hub import cached_file

from flant5_train.failure import FailureCode, TrainingError
from flant5_train.hub_refusal import token_hint
from flant5_train.lossless import LosslessPieces, extend_vocabulary
from flant5_train.model_files import bad_model
from flant5_train.rust_tokenizer import EOS, PAD, SENTINELS, UNKNOWN, build_rust_tokenizer

SENTENCEPIECE_FILE = "spiece.model"
FASTCHAT_PAD = "[PAD]"
FASTCHAT_TOKENS = ("<", "{", "\n", "}", "`", " ", "\\", "^", "\t")
"""What FastChat's train_flant5 adds, in its order."""

Tokenization = Literal["lossless", "fastchat"]
AnyTokenizer = PreTrainedTokenizerFast | T5Tokenizer


class LosslessTokenizer(PreTrainedTokenizerFast):
    """The Rust tokenizer together with the sentencepiece model it was made of.

    Saved, it is a plain `PreTrainedTokenizerFast`. Text that looks like a special token
    ("</s>") is text.
    """

    def __init__(self, sentencepiece_model: bytes, *, model_max_length: int) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            tokenizer_object=build_rust_tokenizer(sentencepiece_model),
            eos_token=EOS,
            pad_token=PAD,
            unk_token=UNKNOWN,
            additional_special_tokens=SENTINELS,
            split_special_tokens=True,
            clean_up_tokenization_spaces=False,
            model_max_length=model_max_length,
        )
        self.sentencepiece_model = sentencepiece_model
        self.pieces = LosslessPieces(sentencepiece_model)
        self.fingerprint = hashlib.sha256(sentencepiece_model).hexdigest()

    def save_pretrained(  # type: ignore[override]
        self, save_directory: str | Path, **kwargs: Any
    ) -> tuple[str, ...]:
        files = super().save_pretrained(save_directory, **kwargs)
        model = Path(save_directory) / SENTENCEPIECE_FILE
        model.write_bytes(self.sentencepiece_model)
        _make_loadable_everywhere(Path(save_directory) / "tokenizer_config.json")
        return (*files, str(model))


def _make_loadable_everywhere(config: Path) -> None:
    """transformers 5 writes its own class name and a list of `extra_special_tokens`; 4.x knows
    neither. Both read these names."""
    settings = json.loads(config.read_text(encoding="utf-8"))
    settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    settings.pop("extra_special_tokens", None)
    settings["additional_special_tokens"] = SENTINELS
    config.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_tokenizer(
    name_or_path: str | Path,
    *,
    tokenization: Tokenization = "lossless",
    model_max_length: int = 2048,
) -> AnyTokenizer:
    """The tokenizer of a base model, with the tokens of `tokenization` added.

    Raises TrainingError when the model has no sentencepiece vocabulary.
    """
    if tokenization == "fastchat":
        sentencepiece_file(name_or_path)  # whose absence the library does not name
        tokenizer: T5Tokenizer = T5Tokenizer.from_pretrained(
            name_or_path, model_max_length=model_max_length
        )
        add_tokens({"pad_token": FASTCHAT_PAD}, FASTCHAT_TOKENS, tokenizer)
        return tokenizer
    try:
        model = extend_vocabulary(sentencepiece_file(name_or_path).read_bytes())
    except DecodeError as error:
        found = f"found a {SENTENCEPIECE_FILE} that is no sentencepiece model"
        raise bad_model(name_or_path, found) from error
    return LosslessTokenizer(model, model_max_length=model_max_length)


def sentencepiece_file(name_or_path: str | Path) -> Path:
    """The vocabulary of a hub model or of a directory."""
    try:
        found = cached_file(str(name_or_path), SENTENCEPIECE_FILE)
    except OSError as error:
        raise TrainingError(
            FailureCode.BAD_MODEL,
            f"model '{name_or_path}': no {SENTENCEPIECE_FILE} could be read ({error}); expected a"
            f" T5 model with its sentencepiece vocabulary.{token_hint(error)}",
            param="model",
        ) from error
    assert found is not None, "cached_file raises for a missing file"
    return Path(found)


def add_tokens(
    special_tokens_dict: Mapping[str, str], other_tokens: Iterable[str], tokenizer: T5Tokenizer
) -> int:
    """The number of tokens added to `tokenizer`.

    The tokens are matched in the text as it is (`normalized=False`): T5's normalizer turns a
    newline into a space before a normalized token could match.
    """
    added = tokenizer.add_special_tokens({**special_tokens_dict})
    plain = [AddedToken(token, normalized=False) for token in other_tokens]
    return int(added + tokenizer.add_tokens(plain))
