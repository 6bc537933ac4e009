"""Fully sharded data parallelism (FSDP2): how a T5 is split over the processes.

Each block is a group of its own: its weights are gathered for its forward and backward pass only.
All else (embeddings, output layer, final norms) is the model's own group, which stays gathered from
the beginning of the forward to the end of the backward pass.
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
    """What accelerate's plugin is told: float32 shards, gradients summed up in float32."""
    policy = MixedPrecisionPolicy(
        param_dtype=torch.bfloat16 if computes_in_bf16 else None,
        reduce_dtype=torch.float32,
        # Not bfloat16, which accelerate would take: the loss is an output, and has to stay exact.
        output_dtype=None,
    )
    return {
        "fsdp_version": 2,
        "reshard_after_forward": True,
        "auto_wrap_policy": "NO_WRAP",  # `shard` knows what to wrap
        "state_dict_type": "FULL_STATE_DICT",
        "cpu_ram_efficient_loading": False,
        "mixed_precision_policy": policy,
    }


def shard_on_any_device(accelerator: Accelerator, arguments: dict[str, Any]) -> None:
    """Make `accelerator` shard on a CPU too, where it would leave its plugin aside."""
    # A block returns its position bias, a view; nobody changes that in place.
    warnings.filterwarnings("ignore", message=".*T5Block.* returned a view tensor")
    if accelerator.distributed_type == DistributedType.MULTI_CPU:
        accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin(**arguments)
        accelerator.state.distributed_type = DistributedType.FSDP
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP


@contextmanager
def our_groups() -> Iterator[None]:
    """Within, accelerate's `prepare` makes our groups. It would give the embedding one of its own,
    which fails (T5's three embedding layers share one weight, and no two groups may manage it), and
    the output layer, whose weight the loss uses without the call that would gather it."""
    accelerates = accelerate.accelerator.fsdp2_prepare_model
    accelerate.accelerator.fsdp2_prepare_model = shard
    try:
        yield
    finally:
        accelerate.accelerator.fsdp2_prepare_model = accelerates


def shard(accelerator: Accelerator, model: torch.nn.Module) -> torch.nn.Module:
    """`model`, split in place; a compiled one too."""
    precision = accelerator.state.fsdp_plugin.mixed_precision_policy
    blocks = [module for module in model.modules() if isinstance(module, T5Block)]
    for block in blocks:
        layer: Any = block.layer[0]
        attention = layer.SelfAttention
        if attention.has_relative_attention_bias:
            # In a packed batch it is called before the block that it is part of.
            bias = attention.relative_attention_bias
            fully_shard(bias, mp_policy=precision, reshard_after_forward=False)
        fully_shard(block, mp_policy=precision)
    fully_shard(model, mp_policy=precision)
    return model


@contextmanager
def gathered(model: torch.nn.Module) -> Iterator[None]:
    """Within, `model` computes without the other processes: processes may run unequal numbers of
    batches, as in an evaluation. Nothing changes for a model that isn't sharded."""
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
    """All weights on the CPU of rank 0, each once; nothing on the other ranks."""
    weights = {}
    for name, shard in _shards(model):
        weight = shard.full_tensor()
        if dist.get_rank() == 0:
            weights[name] = weight.cpu()
    return weights


def load_weights(model: torch.nn.Module, checkpoint: Path) -> None:
    """Rank 0 reads them; each process gets its shard of one after the other."""
    weights = _read_weights(checkpoint) if dist.get_rank() == 0 else {}
    for name, shard in _shards(model):
        weight = weights.get(name, torch.empty(shard.shape, dtype=shard.dtype)).to(shard.device)
        shard.copy_(distribute_tensor(weight, shard.device_mesh, shard.placements))


def save_optimizer(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Path
) -> None:
    """Each process writes its shards; another number of processes can read them."""
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
