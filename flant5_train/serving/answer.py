"""The text of one answer as it is said: up to a stop sequence, without what ends the turn."""

from flant5_train.prompt import ANSWER_END
from flant5_train.serving.text import TextStream


class AnswerText:
    """Joined, all that `feed` and `end` give is the answer."""

    def __init__(self, text: TextStream, *, stop: tuple[str, ...]) -> None:
        self._text = text
        self._stop = stop
        self._held = ""
        self.is_stopped = False
        """A stop sequence was found; nothing follows."""

    def feed(self, token: int) -> str:
        """What the token adds for certain."""
        return self._said(self._text.feed(token))

    def end(self, *, is_whole: bool) -> str:
        """What is left. The answer `is_whole` when the model ended it: its last line end belongs to
        the prompt format then, not to the answer."""
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
    """The length of the longest end of `text` that may become `mark`, being its beginning.

    >>> _overlap("END", "END."), _overlap("the E", "END."), _overlap("the", "END.")
    (3, 1, 0)
    """
    longest = min(len(text), len(mark) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(mark[:n])), 0)
