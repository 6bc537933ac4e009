"""Collates examples into batches. Shapes: B batch, S longest source, T longest target."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.utils.rnn import pad_sequence

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
