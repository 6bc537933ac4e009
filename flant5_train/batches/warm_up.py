"""Memory dry run: the largest batch runs first, so an out-of-memory error comes within a minute."""

from collections.abc import Callable

import torch
from torch import nn

ADAM_STATES = 2
"""Numbers that AdamW keeps per parameter."""


def run_and_forget(
    forward_and_backward: Callable[[nn.Module], object], model: nn.Module, *, room_for: int
) -> None:
    """Runs a micro-batch through the model without side effects: gradients are cleared, and the
    random state is restored.

    On a GPU, `room_for` float32 numbers per trained parameter are reserved meanwhile. The optimizer
    allocates them in its first step, after the first micro-batch.
    """
    parameters = [each for each in model.parameters() if each.requires_grad]
    device = parameters[0].device
    is_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if is_cuda else []):
        reserved = [torch.empty_like(each) for each in parameters * room_for] if is_cuda else []
        forward_and_backward(model)
        del reserved
    model.zero_grad(set_to_none=True)
