"""The loss: exact per target token, however the batch is split over steps and processes."""

from typing import Protocol

import torch
from torch.nn import functional

from flant5_train.collator import IGNORED


class HasLogits(Protocol):
    """What a sequence-to-sequence model returns."""

    logits: torch.Tensor


def summed_loss(logits_BTV: torch.Tensor, labels_BT: torch.Tensor) -> torch.Tensor:
    """The negative log-likelihood of all labels that are not -100, summed; in float32."""
    return functional.cross_entropy(
        logits_BTV.flatten(0, 1).float(),
        labels_BT.flatten(),
        ignore_index=IGNORED,
        reduction="sum",
    )


def token_weighted_loss(
    outputs: HasLogits,
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | int | None = None,
) -> torch.Tensor:
    """This micro-batch's share of the mean over the target tokens of the whole optimizer step.

    The Trainer gives `num_items_in_batch`, the number of those tokens over all accumulation steps
    and processes. Its stock loss for T5 is a mean per micro-batch, which it then takes for a share:
    loss and gradients grow with accumulation steps and processes.
    """
    count = (labels != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
    return summed_loss(outputs.logits, labels) / count
