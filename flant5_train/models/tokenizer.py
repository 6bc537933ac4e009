"""Tokenizers of models: `lossless` (the default) and `fastchat`.

This module finds and loads the files of a tokenizer, and completes saved ones for transformers 4
and 5. If a model hub refuses a download, the error has a hint about the access token.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from google.protobuf.message import DecodeError
from huggingface_hub.errors import RepositoryNotFoundError
from tokenizers import AddedToken, normalizers
from transformers import PreTrainedTokenizerFast, T5Tokenizer
from transformers.utils.hub import cached_file

from flant5_train.models.chat_template import CHAT_TEMPLATE
from flant5_train.models.lossless_tokenizer import (
    EOS,
    PAD,
    SENTINELS,
    UNKNOWN,
    LosslessPieces,
    build_rust_tokenizer,
    extend_vocabulary,
)
from flant5_train.protocol.failure import FailureCode, TrainingError
from flant5_train.protocol.model_files import bad_model, tokenizer_directory


def hub_access_hint(error: BaseException) -> str:
    """Returns a sentence about the access token if the hub may need one, else an empty string.

    The hub returns the same error for private and for missing models.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, RepositoryNotFoundError):  # includes GatedRepoError
            return (
                " A private or gated model needs a token with read access, in the file that "
                "FLANT5_HUB_TOKEN_FILE names."
            )
        cause = cause.__cause__
    return ""


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
            f" T5 model with its sentencepiece vocabulary.{hub_access_hint(error)}",
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


FASTCHAT_PAD = "[PAD]"
FASTCHAT_TOKENS = ("<", "{", "\n", "}", "`", " ", "\\", "^", "\t")
"""Tokens that FastChat's train_flant5 adds, in its order."""

_TEMPLATE_INSIDE: dict[str, Any] = {"save_jinja_files": False}
"""Writes the chat template to tokenizer_config.json, where transformers 4.46 finds it too."""

Tokenization = Literal["lossless", "fastchat"]
AnyTokenizer = PreTrainedTokenizerFast | T5Tokenizer


class LosslessTokenizer(PreTrainedTokenizerFast):
    """Rust tokenizer together with its sentencepiece model.

    Saves as a plain `PreTrainedTokenizerFast`. Text that looks like a special token ("</s>") is
    treated as text.
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
        self.chat_template = CHAT_TEMPLATE
        self.sentencepiece_model = sentencepiece_model
        self.pieces = LosslessPieces(sentencepiece_model)
        self.fingerprint = hashlib.sha256(sentencepiece_model).hexdigest()

    def save_pretrained(  # type: ignore[override]
        self, save_directory: str | Path, **kwargs: Any
    ) -> tuple[str, ...]:
        files = super().save_pretrained(save_directory, **_TEMPLATE_INSIDE | kwargs)
        return (*files, *make_loadable_everywhere(Path(save_directory), self.sentencepiece_model))


class FastChatTokenizer(T5Tokenizer):
    """T5's tokenizer with FastChat's tokens, together with the sentencepiece model of its base.

    Saves as a plain `PreTrainedTokenizerFast`. transformers 5 would rebuild a `T5Tokenizer` without
    the composition of characters that `add_tokens` prepends.
    """

    sentencepiece_model = b""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # The library reads a saved vocabulary only for classes with their own `__init__`.
        super().__init__(*args, **kwargs)

    def save_pretrained(  # type: ignore[override]
        self, save_directory: str | Path, **kwargs: Any
    ) -> tuple[str, ...]:
        files = super().save_pretrained(save_directory, **_TEMPLATE_INSIDE | kwargs)
        return (*files, *make_loadable_everywhere(Path(save_directory), self.sentencepiece_model))


# The library looks up converters by class name.
FastChatTokenizer.__name__ = T5Tokenizer.__name__


def load_tokenizer(
    name_or_path: str | Path,
    *,
    tokenization: Tokenization = "lossless",
    model_max_length: int = 2048,
) -> AnyTokenizer:
    """Returns the tokenizer of a base model, with the tokens of `tokenization` added.

    Raises TrainingError if the model has no sentencepiece vocabulary.
    """
    vocabulary = sentencepiece_file(name_or_path).read_bytes()
    if tokenization == "fastchat":
        return _load_fastchat(name_or_path, vocabulary, model_max_length=model_max_length)
    try:
        model = extend_vocabulary(vocabulary)
    except DecodeError as error:
        found = f"found a {SENTENCEPIECE_FILE} that is not a sentencepiece model"
        raise bad_model(name_or_path, found) from error
    return LosslessTokenizer(model, model_max_length=model_max_length)


def _load_fastchat(
    name_or_path: str | Path, vocabulary: bytes, *, model_max_length: int
) -> FastChatTokenizer:
    tokenizer: FastChatTokenizer = FastChatTokenizer.from_pretrained(
        tokenizer_directory(name_or_path), model_max_length=model_max_length
    )
    add_tokens({"pad_token": FASTCHAT_PAD}, FASTCHAT_TOKENS, tokenizer)
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.sentencepiece_model = vocabulary
    return tokenizer


def add_tokens(
    special_tokens_dict: Mapping[str, str], other_tokens: Iterable[str], tokenizer: T5Tokenizer
) -> int:
    """Adds tokens to `tokenizer` and returns their number.

    Tokens match the raw text (`normalized=False`), because T5's normalizer turns newlines into
    spaces. The text between them is composed (NFC) before T5's normalizer, which drops a second
    combining mark of decomposed text.
    """
    _compose_first(tokenizer)
    added = tokenizer.add_special_tokens({**special_tokens_dict})
    plain = [AddedToken(token, normalized=False) for token in other_tokens]
    return int(added + tokenizer.add_tokens(plain))


def _compose_first(tokenizer: T5Tokenizer) -> None:
    backend = tokenizer.backend_tokenizer
    own = backend.normalizer
    if isinstance(own, normalizers.Sequence) and isinstance(own[0], normalizers.NFC):
        return
    following = [own] if own is not None else []
    backend.normalizer = normalizers.Sequence([normalizers.NFC(), *following])
