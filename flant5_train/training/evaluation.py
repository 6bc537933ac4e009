"""Validation loss, exact per token and in bounded memory."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, Subset

from flant5_train.data.collator import DataCollatorForSupervisedDataset
from flant5_train.data.dataset import SupervisedDataset
from flant5_train.models.loss import IGNORED

_MAX_EXPONENT = 700.0
Batch = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Means over all target tokens of a data set."""

    loss: float
    token_accuracy: float
    """Share of tokens ranked most likely by the model, given the correct previous tokens."""
    num_tokens: int


def perplexity(loss: float) -> float:
    """Returns e to the power of a loss per token, capped to fit a float."""
    return math.exp(min(loss, _MAX_EXPONENT))


def validation_batches(
    dataset: SupervisedDataset, collator: DataCollatorForSupervisedDataset, *, batch_size: int
) -> DataLoader[Batch]:
    """Returns this process's share of the pairs; shares do not overlap."""
    size, rank = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
    own: Any = Subset(dataset, range(rank, len(dataset), size))
    return DataLoader(own, batch_size=batch_size, collate_fn=collator)


@torch.no_grad()
def evaluate_pairs(
    model: torch.nn.Module, batches: Iterable[Batch], *, device: torch.device
) -> Evaluation:
    """Returns the means over the batches of all processes, which call this together.

    Keeps only three sums, so memory does not grow with the data set.
    """
    was_training = model.training
    model.eval()
    sums = torch.zeros(3, dtype=torch.float64, device=device)
    for batch in batches:
        inputs = {name: value.to(device) for name, value in batch.items()}
        told = model(**inputs)
        sums[0] += told.loss
        sums[1] += told.num_right
        sums[2] += (inputs["labels"] != IGNORED).sum()
    model.train(was_training)
    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.all_reduce(sums)
    loss, right, count = sums.tolist()
    return Evaluation(loss / count, right / count, int(count))
