"""Decoder state of a batch of answers of different lengths.

Their last tokens are aligned in one column: a row that joined later is padded at the front. T5's
position bias depends only on the distance of two tokens, so all rows share it. A mask excludes the
padding. Shapes: B rows, S source tokens, T tokens of answers, H heads, C channels of a head,
D model width, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import pad
from transformers.cache_utils import EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from flant5_train.data.encoding import Ids
from flant5_train.models.flan_t5 import FlanT5


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
