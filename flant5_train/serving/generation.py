"""Batched generation, token by token, with continuous batching.

Each answer is the same as if generated alone: padding is masked, and each row has its own sampler.
A finished row leaves the batch. A new row joins with its second token. Shapes: B rows,
V vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from flant5_train.data.encoding import Ids
from flant5_train.models.flan_t5 import FlanT5
from flant5_train.protocol.inference import Delta, Finished, FinishReason, Piece
from flant5_train.serving.answer import AnswerText
from flant5_train.serving.decoding import Decoding
from flant5_train.serving.sampling import Chooser

Say = Callable[[Piece], None]


@dataclass(slots=True)
class Row:
    """One answer being generated."""

    id: str
    source: Ids
    chooser: Chooser
    text: AnswerText
    max_new_tokens: int
    num_tokens: int = 0

    def take(self, token: int, *, is_end: bool, say: Say) -> bool:
        """Appends a token to the answer. Returns True if the answer continues."""
        self.num_tokens += 1
        if not is_end:
            self._say(self.text.feed(token), say)
        is_full = self.num_tokens >= self.max_new_tokens
        if not (is_end or is_full or self.text.is_stopped):
            return True
        self._say(self.text.end(is_whole=is_end), say)
        reason: FinishReason = "stop" if is_end or self.text.is_stopped else "length"
        say(Finished(id=self.id, reason=reason, completion_tokens=self.num_tokens))
        return False

    def _say(self, text: str, say: Say) -> None:
        if text:
            say(Delta(id=self.id, text=text))


Arrivals = Callable[[Sequence[Row]], Sequence[Row]]
"""Returns the new rows, given the active ones. It may block if there are no active rows."""


@torch.inference_mode()
def answer(
    model: FlanT5, arrivals: Arrivals, *, is_wanted: Callable[[str], bool], say: Say
) -> None:
    """Generates answers and sends each token when it is sampled, until no row is active and none
    arrives. A cancelled row, whose id is no longer wanted, ends without a message."""
    assert model.generation_config is not None, "a T5 generates text"
    end = model.generation_config.eos_token_id
    ends = frozenset(end if isinstance(end, list) else [end])

    def go_on(decoding: Decoding, rows: Sequence[Row]) -> list[Row]:
        """Generates one more token per row, and returns the rows that are not finished."""
        tokens = _choose(rows, decoding.next_logits())
        kept = [
            index
            for index, (row, token) in enumerate(zip(rows, tokens, strict=True))
            if is_wanted(row.id) and row.take(token, is_end=token in ends, say=say)
        ]
        decoding.keep(kept, [tokens[index] for index in kept])
        return [rows[index] for index in kept]

    going: list[Row] = []
    decoding: Decoding | None = None
    while (new := arrivals(going)) or going:
        if decoding is not None and going:
            going = go_on(decoding, going)
        if new:
            started = Decoding.of(model, [row.source for row in new])
            if new := go_on(started, new):
                decoding = decoding.joined(started) if decoding is not None and going else started
                going = [*going, *new]


def _choose(rows: Sequence[Row], logits_BV: torch.Tensor) -> list[int]:
    if all(row.chooser.is_greedy for row in rows):
        greedy: list[int] = logits_BV.argmax(-1).tolist()
        return greedy
    logits_BV = logits_BV.cpu()
    return [row.chooser.choose(logits_V) for row, logits_V in zip(rows, logits_BV, strict=True)]
