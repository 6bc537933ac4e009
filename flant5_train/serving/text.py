"""Generated tokens to text, piece by piece: what was said is never taken back.

Joined, the pieces are `tokenizer.decode(ids, skip_special_tokens=True)`. Bytes that make no
character are the one exception: that decoder gives up the whole run of bytes that they stand in,
here the characters around them are kept, as sentencepiece does.
"""

import codecs
import re
from typing import Protocol

from flant5_train.lossless import RUNS, WORD_START, WRITTEN_BAR
from flant5_train.tokenizer import AnyTokenizer, LosslessTokenizer

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_BROKEN = "\ufffd"


class TextStream(Protocol):
    """The text of tokens that come one by one."""

    def feed(self, token: int) -> str:
        """What is certain by now and was not given before."""

    def end(self) -> str:
        """What is left when no token follows."""


def text_stream(tokenizer: AnyTokenizer) -> TextStream:
    """The stream of one answer."""
    if isinstance(tokenizer, LosslessTokenizer):
        return _LosslessText(tokenizer)
    return _DecodedText(tokenizer)


class _LosslessText:
    """`rust_tokenizer._decoder`, step by step and character by character."""

    def __init__(self, tokenizer: LosslessTokenizer) -> None:
        self._tokenizer = tokenizer
        self._special = frozenset(tokenizer.all_special_ids)
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")
        self._drops_space = True
        """A line start was written with a space, and so was the beginning."""

    def feed(self, token: int) -> str:
        if token in self._special or token >= len(self._tokenizer):
            return ""
        piece = str(self._tokenizer.convert_ids_to_tokens(token))
        if found := _BYTE.fullmatch(piece):
            return self._cleaned(self._bytes.decode(bytes.fromhex(found[1])))
        text = piece.replace(WORD_START, " ")
        for run in RUNS:
            text = text.replace(run.written, " " * run.num_spaces)
        return self._cleaned(self._rest_of_bytes() + text)

    def end(self) -> str:
        return self._cleaned(self._rest_of_bytes())

    def _rest_of_bytes(self) -> str:
        """Bytes that were the beginning of a character, and stay without the rest of it."""
        rest = self._bytes.decode(b"", final=True)
        self._bytes.reset()
        return rest

    def _cleaned(self, text: str) -> str:
        if not text:
            return text
        if self._drops_space:
            text = text.removeprefix(" ")
        # After a line end that came last the next space may still have to go.
        self._drops_space = text.endswith("\n")
        return text.replace("\n ", "\n").replace(WRITTEN_BAR, WORD_START)


class _DecodedText:
    """Any other tokenizer: everything is decoded anew, and what may still change is held back."""

    def __init__(self, tokenizer: AnyTokenizer) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._num_given = 0

    def feed(self, token: int) -> str:
        self._tokens.append(token)
        return self._given(self._decoded().rstrip(_BROKEN))

    def end(self) -> str:
        return self._given(self._decoded())

    def _decoded(self) -> str:
        return str(self._tokenizer.decode(self._tokens, skip_special_tokens=True))

    def _given(self, text: str) -> str:
        new = text[self._num_given :]
        self._num_given = max(self._num_given, len(text))
        return new
