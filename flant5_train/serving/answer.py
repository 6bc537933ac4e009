"""Streamed text of one answer: ends at a stop sequence, and omits the end-of-turn newline."""

from flant5_train.data.prompt import ANSWER_END
from flant5_train.serving.detokenizer import TextStream


class AnswerText:
    """Text of one answer: the concatenated results of `feed` and `end`."""

    def __init__(self, text: TextStream, *, stop: tuple[str, ...]) -> None:
        self._text = text
        self._stop = stop
        self._held = ""
        self.is_stopped = False
        """True after a stop sequence was found: no more text follows."""

    def feed(self, token: int) -> str:
        """Adds a token and returns the text that is now final."""
        return self._said(self._text.feed(token))

    def end(self, *, is_whole: bool) -> str:
        """Returns the remaining text. `is_whole` means that the model ended the answer: its last
        newline then belongs to the prompt format, not to the answer."""
        said = "" if self.is_stopped else self._said(self._text.end())
        said, self._held = said + self._held, ""
        return said.removesuffix(ANSWER_END) if is_whole and not self.is_stopped else said

    def _said(self, new: str) -> str:
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
