"""Fully sharded data parallelism (FSDP2) of a T5.

Each block is a group: its weights are gathered for its forward and backward pass only. All other
weights (embeddings, output layer, final norms) form the model's group. It stays gathered from the
start of the forward pass to the end of the backward pass.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import accelerate.accelerator
import safetensors.torch
import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import PartialState
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin
from torch.distributed.checkpoint.state_dict import (
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers.models.t5.modeling_t5 import T5Block

_OPTIMIZER = "optimizer"


def plugin_arguments(*, computes_in_bf16: bool) -> dict[str, Any]:
    """Returns arguments for accelerate's plugin: float32 shards, gradients reduced in float32."""
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if computes_in_bf16 else None,
        reduce_dtype=torch.float32,
        # accelerate's default is bfloat16, but the loss is an output and must stay exact.
        output_dtype=None,
    )
    return {
        "fsdp_version": 2,
        "reshard_after_forward": True,
        "auto_wrap_policy": "NO_WRAP",  # `shard` wraps the blocks
        "state_dict_type": "FULL_STATE_DICT",
        "cpu_ram_efficient_loading": False,
        "mixed_precision_policy": policy,
    }


def shard_on_any_device(accelerator: Accelerator, arguments: dict[str, Any]) -> None:
    """Makes `accelerator` shard on CPUs too, where it would ignore its plugin."""
    # A block returns its position bias, a view, which is never changed in place.
    warnings.filterwarnings("ignore", message=".*T5Block.* returned a view tensor")
    if accelerator.distributed_type == DistributedType.MULTI_CPU:
        accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin(**arguments)
        accelerator.state.distributed_type = DistributedType.FSDP
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP


@contextmanager
def our_groups() -> Iterator[None]:
    """Makes accelerate's `prepare` use `shard` within the context.

    accelerate would give the embedding its own group, which fails: T5's three embedding layers
    share one weight, and two groups can't manage it. The output layer would also get its own group,
    but the loss uses its weight without the call that would gather it.
    """
    accelerates = accelerate.accelerator.fsdp2_prepare_model
    accelerate.accelerator.fsdp2_prepare_model = shard
    try:
        yield
    finally:
        accelerate.accelerator.fsdp2_prepare_model = accelerates


def shard(accelerator: Accelerator, model: torch.nn.Module) -> torch.nn.Module:
    """Shards `model` in place, compiled or not, and returns it."""
    precision = accelerator.state.fsdp_plugin.mixed_precision_policy
    blocks = [module for module in model.modules() if isinstance(module, T5Block)]
    for block in blocks:
        layer: Any = block.layer[0]
        attention = layer.SelfAttention
        if attention.has_relative_attention_bias:
            # In a packed batch, it is called before its block.
            bias = attention.relative_attention_bias
            fully_shard(bias, mp_policy=precision, reshard_after_forward=False)
        fully_shard(block, mp_policy=precision)
    fully_shard(model, mp_policy=precision)
    return model


@contextmanager
def gathered(model: torch.nn.Module) -> Iterator[None]:
    """Gathers `model` within the context: it computes without the other processes.

    Processes can then run different numbers of batches, as in an evaluation. Has no effect on an
    unsharded model.
    """
    groups = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for group in groups:
        group.set_reshard_after_forward(False, recurse=False)
        group.unshard()
    try:
        yield
    finally:
        for group in groups:
            group.reshard()
            group.set_reshard_after_forward(isinstance(group, T5Block), recurse=False)


def full_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Returns all weights on the CPU of rank 0, each once; an empty dict on other ranks."""
    weights = {}
    for name, shard in _shards(model):
        weight = shard.full_tensor()
        if dist.get_rank() == 0:
            weights[name] = weight.cpu()
    return weights


def load_weights(model: torch.nn.Module, checkpoint: Path) -> None:
    """Loads weights: rank 0 reads them and distributes the shards, one weight at a time."""
    weights = _read_weights(checkpoint) if dist.get_rank() == 0 else {}
    for name, shard in _shards(model):
        weight = weights.get(name, torch.empty(shard.shape, dtype=shard.dtype)).to(shard.device)
        shard.copy_(distribute_tensor(weight, shard.device_mesh, shard.placements))


def save_optimizer(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Path
) -> None:
    """Saves the optimizer state in shards, which any number of processes can load."""
    state = get_optimizer_state_dict(model, optimizer)
    save({_OPTIMIZER: state}, checkpoint_id=checkpoint / _OPTIMIZER)


def load_optimizer(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Path
) -> None:
    state = {_OPTIMIZER: get_optimizer_state_dict(model, optimizer)}
    load(state, checkpoint_id=checkpoint / _OPTIMIZER)
    set_optimizer_state_dict(model, optimizer, state[_OPTIMIZER])


def _shards(model: torch.nn.Module) -> Iterator[tuple[str, DTensor]]:
    for name, parameter in model.named_parameters():
        shard = parameter.detach()
        assert isinstance(shard, DTensor), f"{name} is not sharded"
        yield name, shard


def _read_weights(directory: Path) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = {}
    for file in sorted(directory.glob("*.safetensors")):
        weights |= safetensors.torch.load_file(file)
    return weights
