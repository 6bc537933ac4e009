"""Trainable Flan-T5, whose forward pass returns the loss instead of logits.

Shapes: B batch, S source tokens, T target tokens, N all positions of a batch, D model width.
"""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import T5ForConditionalGeneration
from transformers.utils.generic import ModelOutput

from flant5_train.models.attention import packed
from flant5_train.models.attention.packed import decode, encode, kernel_for
from flant5_train.models.loss import IGNORED, num_right, summed_loss


@dataclass
class TokenLoss(ModelOutput):
    """Result of a forward pass with labels."""

    loss: torch.Tensor | None = None
    """Negative log-likelihood of the labels, summed."""
    num_right: torch.Tensor | None = None
    """Number of labels that the model ranks most likely; in evaluation mode only."""


class FlanT5(T5ForConditionalGeneration):
    """Loads, generates and saves like the library's T5.

    With labels, takes a padded or a packed batch and returns a TokenLoss.
    """

    def __init__(self, config: Any) -> None:
        packed.register()
        super().__init__(config)
        self.set_attn_implementation(packed.NAME)

    def compile_blocks(self) -> None:
        """Compiles each block for the row lengths it receives, once for all blocks of a stack.

        Suits rows of one or few lengths.
        """
        for stack in (self.encoder, self.decoder):
            for block in stack.block:
                block.compile(dynamic=False)

    def forward(self, input_ids: torch.Tensor | None = None, **inputs: Any) -> Any:
        """Returns a TokenLoss; without `labels`, runs the library's own forward pass.

        A padded batch: `input_ids`, `attention_mask` [B, S]; `decoder_input_ids`, `labels` [B, T].
        A packed batch: `input_ids`, `source_segments` [1, S]; `decoder_input_ids`, `labels`,
        `target_segments` [1, T], from PackedCollator.
        """
        if inputs.get("labels") is None:
            return super().forward(input_ids=input_ids, **inputs)
        assert input_ids is not None, "a batch has input_ids"
        if "source_segments" in inputs:
            return self._packed_loss(input_ids, **inputs)
        return self._padded_loss(input_ids, **inputs)

    def _padded_loss(
        self,
        input_ids: torch.Tensor,
        *,
        attention_mask: torch.Tensor,
        decoder_input_ids: torch.Tensor,
        labels: torch.Tensor,
    ) -> TokenLoss:
        encoded_BSD = self.encoder(input_ids=input_ids, attention_mask=attention_mask)[0]
        decoded_BTD = self.decoder(
            input_ids=decoder_input_ids,
            encoder_hidden_states=encoded_BSD,
            encoder_attention_mask=attention_mask,
            use_cache=False,
        )[0]
        is_target_BT = labels != IGNORED
        return self._loss(decoded_BTD[is_target_BT], labels[is_target_BT])

    def _packed_loss(
        self,
        input_ids: torch.Tensor,
        *,
        source_segments: torch.Tensor,
        decoder_input_ids: torch.Tensor,
        target_segments: torch.Tensor,
        labels: torch.Tensor,
    ) -> TokenLoss:
        kernel = kernel_for(
            self.encoder,
            self.decoder,
            source_segments=source_segments,
            target_segments=target_segments,
        )
        encoded_SD = encode(self.encoder, input_ids, kernel=kernel)
        decoded_TD = decode(self.decoder, decoder_input_ids, encoded_SD=encoded_SD, kernel=kernel)
        return self._loss(decoded_TD[0], labels[0])

    def _loss(self, hidden_ND: torch.Tensor, labels_N: torch.Tensor) -> TokenLoss:
        assert not self.config.scale_decoder_outputs, "load_model refuses T5 v1.0"
        return TokenLoss(
            loss=summed_loss(hidden_ND, labels_N, output_layer=self.lm_head),
            num_right=None
            if self.training
            else num_right(hidden_ND, labels_N, output_layer=self.lm_head),
        )


# `save_pretrained` writes the class name as the architecture, which loaders look up.
FlanT5.__name__ = T5ForConditionalGeneration.__name__
