"""Streaming detokenizer: text that was returned never changes.

The concatenated pieces equal `tokenizer.decode(ids, skip_special_tokens=True)`, except for invalid
UTF-8. That decoder drops the whole run of bytes around an invalid one. This one keeps the valid
characters of the run, as sentencepiece does.

The text of one answer ends at a stop sequence, and omits the end-of-turn newline.
"""

import codecs
import re
from typing import Protocol

from flant5_train.data.prompt import ANSWER_END
from flant5_train.models.lossless_tokenizer import RUNS, WORD_START, WRITTEN_BAR
from flant5_train.models.tokenizer import AnyTokenizer, LosslessTokenizer

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_BROKEN = "\ufffd"


class Detokenizer(Protocol):
    """Incremental detokenizer of one sequence."""

    def feed(self, token: int) -> str:
        """Adds a token and returns the text that is newly final."""

    def end(self) -> str:
        """Returns the remaining text; no token follows."""


def detokenizer_for(tokenizer: AnyTokenizer) -> Detokenizer:
    """Returns the detokenizer for one answer."""
    if isinstance(tokenizer, LosslessTokenizer):
        return _LosslessText(tokenizer)
    return _DecodedText(tokenizer)


class _LosslessText:
    """Incremental version of `rust_tokenizer._decoder`."""

    def __init__(self, tokenizer: LosslessTokenizer) -> None:
        self._tokenizer = tokenizer
        self._special = frozenset(tokenizer.all_special_ids)
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")
        self._drops_space = True
        """True at the beginning and after a newline, where the encoding has an extra space."""

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
        """Returns the replacement text for the bytes of an incomplete character."""
        rest = self._bytes.decode(b"", final=True)
        self._bytes.reset()
        return rest

    def _cleaned(self, text: str) -> str:
        if not text:
            return text
        if self._drops_space:
            text = text.removeprefix(" ")
        # After a trailing newline, the extra space may be in the next piece.
        self._drops_space = text.endswith("\n")
        return text.replace("\n ", "\n").replace(WRITTEN_BAR, WORD_START)


class _DecodedText:
    """Detokenizer for any other tokenizer: decodes all tokens each time, and holds back text that
    may still change."""

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


class AnswerDetokenizer:
    """Text of one answer: the concatenated results of `feed` and `end`."""

    def __init__(self, text: Detokenizer, *, stop: tuple[str, ...]) -> None:
        self._text = text
        self._stop = stop
        self._held = ""
        self.is_stopped = False
        """True after a stop sequence was found: no more text follows."""

    def feed(self, token: int) -> str:
        """Adds a token and returns the text that is now final."""
        return self._released(self._text.feed(token))

    def end(self, *, is_whole: bool) -> str:
        """Returns the remaining text. `is_whole` means that the model ended the answer: its last
        newline then belongs to the prompt format, not to the answer."""
        released = "" if self.is_stopped else self._released(self._text.end())
        released, self._held = released + self._held, ""
        return released.removesuffix(ANSWER_END) if is_whole and not self.is_stopped else released

    def _released(self, new: str) -> str:
        held = self._held + new
        found = [at for at in map(held.find, self._stop) if at >= 0]
        if found:
            self.is_stopped = True
            self._held = ""
            return held[: min(found)]
        num_held = len(ANSWER_END) if held.endswith(ANSWER_END) else 0
        num_held = max([num_held, *(_overlap(held, mark) for mark in self._stop)])
        self._held = held[len(held) - num_held :]
        return held[: len(held) - num_held]


def _overlap(text: str, mark: str) -> int:
    """Returns the length of the longest suffix of `text` that is a proper prefix of `mark`.

    >>> _overlap("END", "END."), _overlap("the E", "END."), _overlap("the", "END.")
    (3, 1, 0)
    """
    longest = min(len(text), len(mark) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(mark[:n])), 0)
