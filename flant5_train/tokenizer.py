"""Tokenizers by name or directory: `lossless` (the default) and `fastchat`."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from google.protobuf.message import DecodeError
from tokenizers import AddedToken, normalizers
from transformers import PreTrainedTokenizerFast, T5Tokenizer

from flant5_train.chat_template import CHAT_TEMPLATE
from flant5_train.lossless import LosslessPieces, extend_vocabulary
from flant5_train.model_files import bad_model, tokenizer_directory
from flant5_train.rust_tokenizer import EOS, PAD, SENTINELS, UNKNOWN, build_rust_tokenizer
from flant5_train.tokenizer_files import SENTENCEPIECE_FILE as SENTENCEPIECE_FILE
from flant5_train.tokenizer_files import make_loadable_everywhere, sentencepiece_file

FASTCHAT_PAD = "[PAD]"
FASTCHAT_TOKENS = ("<", "{", "\n", "}", "`", " ", "\\", "^", "\t")
"""What FastChat's train_flant5 adds, in its order."""

_TEMPLATE_INSIDE: dict[str, Any] = {"save_jinja_files": False}
"""The chat template goes into tokenizer_config.json, where transformers 4.46 looks for it too."""

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

    Saved, it is a plain `PreTrainedTokenizerFast`: transformers 5 builds a `T5Tokenizer` anew and
    leaves out the composition of characters that `add_tokens` puts first.
    """

    sentencepiece_model = b""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # The library reads a saved vocabulary for classes that have an `__init__` of their own.
        super().__init__(*args, **kwargs)

    def save_pretrained(  # type: ignore[override]
        self, save_directory: str | Path, **kwargs: Any
    ) -> tuple[str, ...]:
        files = super().save_pretrained(save_directory, **_TEMPLATE_INSIDE | kwargs)
        return (*files, *make_loadable_everywhere(Path(save_directory), self.sentencepiece_model))


# The library looks converters up by the class's name.
FastChatTokenizer.__name__ = T5Tokenizer.__name__


def load_tokenizer(
    name_or_path: str | Path,
    *,
    tokenization: Tokenization = "lossless",
    model_max_length: int = 2048,
) -> AnyTokenizer:
    """The tokenizer of a base model, with the tokens of `tokenization` added.

    Raises TrainingError when the model has no sentencepiece vocabulary.
    """
    vocabulary = sentencepiece_file(name_or_path).read_bytes()
    if tokenization == "fastchat":
        return _load_fastchat(name_or_path, vocabulary, model_max_length=model_max_length)
    try:
        model = extend_vocabulary(vocabulary)
    except DecodeError as error:
        found = f"found a {SENTENCEPIECE_FILE} that is no sentencepiece model"
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
    """The number of tokens added to `tokenizer`.

    The tokens are matched in the text as it is (`normalized=False`): T5's normalizer turns a
    newline into a space before a normalized token could match. The text between them is composed
    (NFC) before T5's normalizer, which drops a second combining mark of decomposed text.
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
