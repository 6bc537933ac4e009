"""Loading of tokenizers: `lossless` (the default) and `fastchat`."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from google.protobuf.message import DecodeError
from tokenizers import AddedToken, normalizers
from transformers import PreTrainedTokenizerFast, T5Tokenizer

from flant5_train.models.chat_template import CHAT_TEMPLATE
from flant5_train.models.lossless_tokenizer import LosslessPieces, extend_vocabulary
from flant5_train.protocol.model_files import bad_model, tokenizer_directory
from flant5_train.rust_tokenizer import EOS, PAD, SENTINELS, UNKNOWN, build_rust_tokenizer
from flant5_train.tokenizer_files import SENTENCEPIECE_FILE as SENTENCEPIECE_FILE
from flant5_train.tokenizer_files import make_loadable_everywhere, sentencepiece_file

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
