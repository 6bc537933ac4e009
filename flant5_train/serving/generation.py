"""Batched generation, token by token, with continuous batching.

Each answer is the same as if generated alone: padding is masked, and each row has its own sampler.
A finished row leaves the batch. A new row joins with its second token.

The last tokens of all answers are aligned in one column: a row that joined later is padded at the
front. T5's position bias depends only on the distance of two tokens, so all rows share it. A mask
excludes the padding.

Shapes: B rows, S source tokens, T tokens of answers, H heads, C channels of a head, D model width,
V vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import pad
from transformers.cache_utils import EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from flant5_train.data.encoding import Ids
from flant5_train.models.flan_t5 import FlanT5
from flant5_train.protocol.inference import AnswerFinished, FinishReason, StreamEvent, TextDelta
from flant5_train.serving.detokenizer import AnswerDetokenizer


class Decoding:
    """State of the active rows. Sources are padded at the end, answers at the front."""

    def __init__(
        self, model: FlanT5, *, encoded_BSD: torch.Tensor, sources_BS: torch.Tensor
    ) -> None:
        self._model = model
        self._encoded_BSD = encoded_BSD
        self._sources_BS = sources_BS
        """Attention mask: 1 where there is a token."""
        start = model.config.decoder_start_token_id
        self._tokens_B1 = torch.full((len(sources_BS), 1), start, device=sources_BS.device)
        self._answers_BT = torch.ones_like(self._tokens_B1)
        """Attention mask: 1 where there is a token."""
        self._cache: Any = None

    @classmethod
    def of(cls, model: FlanT5, sources: Sequence[Ids]) -> "Decoding":
        """Encodes the sources and returns the state at the start of their answers."""
        ids_BS = torch.zeros((len(sources), max(map(len, sources))), dtype=torch.long)
        sources_BS = torch.zeros_like(ids_BS)
        for number, source in enumerate(sources):
            ids_BS[number, : len(source)] = torch.from_numpy(source.astype("int64"))
            sources_BS[number, : len(source)] = 1
        ids_BS, sources_BS = ids_BS.to(model.device), sources_BS.to(model.device)
        encoded_BSD = model.encoder(input_ids=ids_BS, attention_mask=sources_BS)[0]
        return cls(model, encoded_BSD=encoded_BSD, sources_BS=sources_BS)

    def next_logits(self) -> torch.Tensor:
        """Returns the logits of the next tokens, [B, V]."""
        output = self._model(
            encoder_outputs=BaseModelOutput(self._encoded_BSD),
            attention_mask=self._sources_BS,
            decoder_input_ids=self._tokens_B1,
            decoder_attention_mask=None if self._answers_BT.all() else self._answers_BT,
            past_key_values=self._cache,
            use_cache=True,
        )
        self._cache = output.past_key_values
        logits_BV: torch.Tensor = output.logits[:, -1].float()
        return logits_BV

    def keep(self, kept: Sequence[int], tokens: Sequence[int]) -> None:
        """Keeps only these rows, and appends the sampled token to each."""
        device = self._sources_BS.device
        self._tokens_B1 = torch.tensor(tokens, device=device, dtype=torch.long)[:, None]
        if len(kept) < len(self._sources_BS):
            self._select(torch.tensor(kept, device=device, dtype=torch.long))
        self._answers_BT = pad(self._answers_BT, (0, 1), value=1)

    def joined(self, other: "Decoding") -> "Decoding":
        """Returns the rows of both, at least one of each. Neither may be used afterwards."""
        num_source = max(each._sources_BS.shape[1] for each in (self, other))
        num_answer = max(each._answers_BT.shape[1] for each in (self, other))
        for each in (self, other):
            each._widen(num_source=num_source, num_answer=num_answer)
        self._encoded_BSD = torch.cat([self._encoded_BSD, other._encoded_BSD])
        self._sources_BS = torch.cat([self._sources_BS, other._sources_BS])
        self._answers_BT = torch.cat([self._answers_BT, other._answers_BT])
        self._tokens_B1 = torch.cat([self._tokens_B1, other._tokens_B1])
        for mine, others in zip(_layers(self._cache), _layers(other._cache), strict=True):
            mine.keys = torch.cat([mine.keys, others.keys])
            mine.values = torch.cat([mine.values, others.values])
        return self

    def _select(self, rows: torch.Tensor) -> None:
        """Selects rows, and drops the padding that no remaining row needs."""
        self._cache.self_attention_cache.batch_select_indices(rows)
        self._cache.cross_attention_cache.batch_select_indices(rows)
        self._encoded_BSD = self._encoded_BSD[rows]
        self._sources_BS = self._sources_BS[rows]
        self._answers_BT = self._answers_BT[rows]
        if len(rows):
            num_source = int(self._sources_BS.sum(1).max())
            num_answer = int(self._answers_BT.sum(1).max())
            self._widen(num_source=num_source, num_answer=num_answer)

    def _widen(self, *, num_source: int, num_answer: int) -> None:
        """Pads or shrinks the state to these numbers of columns."""
        behind = num_source - self._sources_BS.shape[1]
        before = num_answer - self._answers_BT.shape[1]
        if behind:
            self._encoded_BSD = pad(self._encoded_BSD, (0, 0, 0, behind))
            self._sources_BS = pad(self._sources_BS, (0, behind))
            _widen_layers(self._cache.cross_attention_cache, (0, 0, 0, behind))
        if before:
            self._answers_BT = pad(self._answers_BT, (before, 0))
            _widen_layers(self._cache.self_attention_cache, (0, 0, before, 0))


def _layers(cache: EncoderDecoderCache) -> list[Any]:
    return [*cache.self_attention_cache.layers, *cache.cross_attention_cache.layers]


def _widen_layers(cache: Any, columns: tuple[int, ...]) -> None:
    """Pads or shrinks keys and values [B, H, T or S, C]."""
    for layer in cache.layers:
        layer.keys, layer.values = pad(layer.keys, columns), pad(layer.values, columns)


class Sampler:
    """Sampler of one answer, independent of the other answers in the batch."""

    def __init__(self, *, temperature: float, top_p: float, seed: int | None) -> None:
        self._temperature = temperature
        self._top_p = top_p
        self._chance = torch.Generator()
        if seed is None:
            self._chance.seed()
        else:
            # The generator takes 64 bits.
            self._chance.manual_seed(seed % 2**64)

    @property
    def is_greedy(self) -> bool:
        return self._temperature == 0

    def sample(self, logits_V: torch.Tensor) -> int:
        """Samples a token, or takes the most likely one if greedy; `logits_V` is on the CPU."""
        if self.is_greedy:
            return int(logits_V.argmax())
        likelihood_V = (logits_V.double() / self._temperature).softmax(-1)
        if self._top_p < 1:
            likelihood_V = _nucleus(likelihood_V, self._top_p)
        return int(torch.multinomial(likelihood_V, 1, generator=self._chance))


def _nucleus(likelihood_V: torch.Tensor, top_p: float) -> torch.Tensor:
    """Keeps the smallest set of most likely tokens whose probabilities add up to `top_p`, at least
    one."""
    sorted_V, order_V = likelihood_V.sort(descending=True, stable=True)
    is_beyond_V = sorted_V.cumsum(-1) - sorted_V >= top_p
    kept_V = likelihood_V.clone()
    kept_V[order_V[is_beyond_V]] = 0
    return kept_V


Send = Callable[[StreamEvent], None]


@dataclass(slots=True)
class GeneratedSequence:
    """One answer being generated."""

    id: str
    source: Ids
    sampler: Sampler
    text: AnswerDetokenizer
    max_new_tokens: int
    num_tokens: int = 0

    def append(self, token: int, *, is_end: bool, send: Send) -> bool:
        """Appends a token to the answer. Returns True if the answer continues."""
        self.num_tokens += 1
        if not is_end:
            self._send(self.text.feed(token), send)
        is_full = self.num_tokens >= self.max_new_tokens
        if not (is_end or is_full or self.text.is_stopped):
            return True
        self._send(self.text.end(is_whole=is_end), send)
        reason: FinishReason = "stop" if is_end or self.text.is_stopped else "length"
        send(AnswerFinished(id=self.id, reason=reason, completion_tokens=self.num_tokens))
        return False

    def _send(self, text: str, send: Send) -> None:
        if text:
            send(TextDelta(id=self.id, text=text))


Arrivals = Callable[[Sequence[GeneratedSequence]], Sequence[GeneratedSequence]]
"""Returns the new rows, given the active ones. It may block if there are no active rows."""


@torch.inference_mode()
def answer(
    model: FlanT5, arrivals: Arrivals, *, is_active: Callable[[str], bool], send: Send
) -> None:
    """Generates answers and sends each token when it is sampled, until no row is active and none
    arrives. A cancelled row, whose id is no longer wanted, ends without a message."""
    assert model.generation_config is not None, "a T5 generates text"
    end = model.generation_config.eos_token_id
    ends = frozenset(end if isinstance(end, list) else [end])

    def go_on(decoding: Decoding, rows: Sequence[GeneratedSequence]) -> list[GeneratedSequence]:
        """Generates one more token per row, and returns the rows that are not finished."""
        tokens = _choose(rows, decoding.next_logits())
        kept = [
            index
            for index, (row, token) in enumerate(zip(rows, tokens, strict=True))
            if is_active(row.id) and row.append(token, is_end=token in ends, send=send)
        ]
        decoding.keep(kept, [tokens[index] for index in kept])
        return [rows[index] for index in kept]

    going: list[GeneratedSequence] = []
    decoding: Decoding | None = None
    while (new := arrivals(going)) or going:
        if decoding is not None and going:
            going = go_on(decoding, going)
        if new:
            started = Decoding.of(model, [row.source for row in new])
            if new := go_on(started, new):
                decoding = decoding.joined(started) if decoding is not None and going else started
                going = [*going, *new]


def _choose(rows: Sequence[GeneratedSequence], logits_BV: torch.Tensor) -> list[int]:
    if all(row.sampler.is_greedy for row in rows):
        greedy: list[int] = logits_BV.argmax(-1).tolist()
        return greedy
    logits_BV = logits_BV.cpu()
    return [row.sampler.sample(logits_V) for row, logits_V in zip(rows, logits_BV, strict=True)]
