"""Collators: pad examples to a batch, or pack them into one row.

Padded shapes: B batch, S longest source, T longest target. Packed shapes: S source tokens of all
examples, T target tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from flant5_train.models.attention.segments import NO_SEGMENT
from flant5_train.models.loss import IGNORED
from flant5_train.models.tokenizer import AnyTokenizer


@dataclass(frozen=True, slots=True)
class DataCollatorForSupervisedDataset:
    """Pads a batch to its own longest source and target."""

    tokenizer: AnyTokenizer
    decoder_start_token_id: int = 0
    """First decoder input: T5's `<pad>`, whatever token the tokenizer pads with."""

    def __call__(self, instances: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """Returns `input_ids`, `attention_mask` [B, S]; `labels`, `decoder_input_ids` [B, T].

        Labels are -100 after the target's end. Decoder inputs are the labels shifted right.
        """
        pad = self.tokenizer.pad_token_id
        assert isinstance(pad, int), "a T5 tokenizer has a padding token"
        sources = [instance["input_ids"] for instance in instances]
        targets = [instance["labels"] for instance in instances]
        masks = [torch.ones_like(source) for source in sources]
        labels_BT = pad_sequence(targets, batch_first=True, padding_value=IGNORED)
        start = self.decoder_start_token_id
        decoder_BT = labels_BT.roll(1, dims=1).masked_fill(labels_BT.roll(1, dims=1) < 0, start)
        decoder_BT[:, 0] = start
        return {
            "input_ids": pad_sequence(sources, batch_first=True, padding_value=pad),
            "attention_mask": pad_sequence(masks, batch_first=True),
            "decoder_input_ids": decoder_BT,
            "labels": labels_BT,
        }


@dataclass(frozen=True, slots=True)
class PackedCollator:
    """Concatenates sources in one row and targets in another, and pads each to its capacity."""

    pad_token_id: int
    source_capacity: int | None = None
    """Length of every source row in tokens; None adds no padding. Compiled kernels need rows of
    equal length."""
    target_capacity: int | None = None
    decoder_start_token_id: int = 0
    """First decoder input of each example."""

    def __call__(self, instances: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        """Returns `input_ids`, `source_segments` [1, S]; `labels`, `decoder_input_ids`,
        `target_segments` [1, T]. Segments are numbered from 1; 0 is padding.

        Decoder inputs are the labels shifted right within each example. If the whole row were
        shifted, each example would begin with the last token of its neighbour.

        [{input_ids: [5, 1], labels: [7, 8, 1]}, {input_ids: [6, 6, 1], labels: [9, 1]}]
        -> input_ids         [5 1 6 6 1]    source_segments [1 1 2 2 2]
           decoder_input_ids [0 7 8 0 9]    target_segments [1 1 1 2 2]    labels [7 8 1 9 1]
        """
        sources = [instance["input_ids"] for instance in instances]
        targets = [instance["labels"] for instance in instances]
        decoder = [self._shifted(target) for target in targets]
        rows = {
            "input_ids": (torch.cat(sources), self.pad_token_id, self.source_capacity),
            "source_segments": (_segments(sources), NO_SEGMENT, self.source_capacity),
            "decoder_input_ids": (torch.cat(decoder), self.pad_token_id, self.target_capacity),
            "labels": (torch.cat(targets), IGNORED, self.target_capacity),
            "target_segments": (_segments(targets), NO_SEGMENT, self.target_capacity),
        }
        return {name: _padded(*row)[None] for name, row in rows.items()}

    def _shifted(self, target: torch.Tensor) -> torch.Tensor:
        """Returns the decoder inputs of a target. Ignored labels become the start token: labels
        after them carry no loss either."""
        start = target.new_tensor([self.decoder_start_token_id])
        return torch.cat([start, target[:-1].masked_fill(target[:-1] == IGNORED, start.item())])


def _segments(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    numbers = torch.arange(1, len(parts) + 1, dtype=torch.int32)
    return numbers.repeat_interleave(torch.tensor([len(part) for part in parts]))


def _padded(row: torch.Tensor, filling: int, capacity: int | None) -> torch.Tensor:
    if capacity is None:
        return row
    assert len(row) <= capacity, f"{len(row)} tokens in a row of {capacity}"
    return functional.pad(row, (0, capacity - len(row)), value=filling)
