"""Several answers at once, token by token.

Each answer is what it would be alone: sources are padded and masked, choices are made by row, and a
row that has ended leaves the batch. Shapes: B rows, S source tokens, D model width, V vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutput

from flant5_train.encoder import Ids
from flant5_train.seq2seq import FlanT5
from flant5_train.serving.answer import AnswerText
from flant5_train.serving.messages import Delta, Finished, FinishReason, Piece
from flant5_train.serving.sampling import Chooser

Say = Callable[[Piece], None]


@dataclass(slots=True)
class Row:
    """One answer on its way."""

    id: str
    source: Ids
    chooser: Chooser
    text: AnswerText
    max_new_tokens: int
    num_tokens: int = 0

    def take(self, token: int, *, is_end: bool, say: Say) -> bool:
        """The answer with one token more; whether it goes on."""
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


@torch.inference_mode()
def answer(
    model: FlanT5, rows: Sequence[Row], *, is_wanted: Callable[[str], bool], say: Say
) -> None:
    """Says all answers, each token when it is chosen. A row whose id is no longer wanted ends
    without a word."""
    assert model.generation_config is not None, "a T5 generates text"
    end = model.generation_config.eos_token_id
    ends = frozenset(end if isinstance(end, list) else [end])
    going = list(rows)
    state = _State.of(model, going)
    while going:
        logits_BV = state.next_logits()
        tokens = _choose(going, logits_BV)
        kept = [
            index
            for index, (row, token) in enumerate(zip(going, tokens, strict=True))
            if is_wanted(row.id) and row.take(token, is_end=token in ends, say=say)
        ]
        going = [going[index] for index in kept]
        if going:
            state.go_on(kept, [tokens[index] for index in kept])


def _choose(rows: Sequence[Row], logits_BV: torch.Tensor) -> list[int]:
    if all(row.chooser.is_greedy for row in rows):
        greedy: list[int] = logits_BV.argmax(-1).tolist()
        return greedy
    logits_BV = logits_BV.cpu()
    return [row.chooser.choose(logits_V) for row, logits_V in zip(rows, logits_BV, strict=True)]


class _State:
    """What the decoder knows of the rows that go on."""

    def __init__(self, model: FlanT5, *, encoded_BSD: torch.Tensor, mask_BS: torch.Tensor) -> None:
        self._model = model
        self._encoded_BSD = encoded_BSD
        self._mask_BS = mask_BS
        start = model.config.decoder_start_token_id
        self._tokens_B1 = torch.full((len(mask_BS), 1), start, device=mask_BS.device)
        self._cache: Any = None

    @classmethod
    def of(cls, model: FlanT5, rows: Sequence[Row]) -> "_State":
        longest = max(len(row.source) for row in rows)
        ids_BS = torch.zeros((len(rows), longest), dtype=torch.long)
        mask_BS = torch.zeros_like(ids_BS)
        for number, row in enumerate(rows):
            length = len(row.source)
            ids_BS[number, :length] = torch.from_numpy(row.source.astype("int64"))
            mask_BS[number, :length] = 1
        ids_BS, mask_BS = ids_BS.to(model.device), mask_BS.to(model.device)
        encoded_BSD = model.encoder(input_ids=ids_BS, attention_mask=mask_BS)[0]
        return cls(model, encoded_BSD=encoded_BSD, mask_BS=mask_BS)

    def next_logits(self) -> torch.Tensor:
        """Of the tokens that may follow, [B, V]."""
        output = self._model(
            encoder_outputs=BaseModelOutput(self._encoded_BSD),
            attention_mask=self._mask_BS,
            decoder_input_ids=self._tokens_B1,
            past_key_values=self._cache,
            use_cache=True,
        )
        self._cache = output.past_key_values
        logits_BV: torch.Tensor = output.logits[:, -1].float()
        return logits_BV

    def go_on(self, kept: Sequence[int], tokens: Sequence[int]) -> None:
        """With these rows alone, each with the token that was chosen for it."""
        device = self._mask_BS.device
        self._tokens_B1 = torch.tensor(tokens, device=device)[:, None]
        if len(kept) == len(self._mask_BS):
            return
        rows = torch.tensor(kept, device=device)
        self._encoded_BSD = self._encoded_BSD[rows]
        self._mask_BS = self._mask_BS[rows]
        self._cache.self_attention_cache.batch_select_indices(rows)
        self._cache.cross_attention_cache.batch_select_indices(rows)
