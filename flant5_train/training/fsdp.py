"""Fully sharded data parallelism (FSDP2) of a T5, and its trainer.

Each block is a group: its weights are gathered for its forward and backward pass only. All other
weights (embeddings, output layer, final norms) form the model's group. It stays gathered from the
start of the forward pass to the end of the backward pass.

`ShardingTrainer` saves plain models as checkpoints.
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
from transformers import Trainer, TrainingArguments
from transformers.models.t5.modeling_t5 import T5Block
from transformers.trainer import SCHEDULER_NAME
from transformers.training_args import OptimizerNames, ParallelMode

from flant5_train.protocol.failure import FailureCode, TrainingError

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


def apply_fsdp(accelerator: Accelerator, arguments: dict[str, Any]) -> None:
    """Makes `accelerator` shard on CPUs too, where it would ignore its plugin."""
    # A block returns its position bias, a view, which is never changed in place.
    warnings.filterwarnings("ignore", message=".*T5Block.* returned a view tensor")
    if accelerator.distributed_type == DistributedType.MULTI_CPU:
        accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin(**arguments)
        accelerator.state.distributed_type = DistributedType.FSDP
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP


@contextmanager
def parameter_groups() -> Iterator[None]:
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


class ShardingTrainer(Trainer):
    """Shards the model if its arguments enable it.

    A checkpoint then contains the whole model as safetensors, like any other, and the optimizer
    state in shards.
    """

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        if self.args.fsdp_plugin_args is not None:
            _refuse_what_cannot_be_sharded(self.model, self.args)
            apply_fsdp(self.accelerator, self.args.fsdp_plugin_args)
            self.is_fsdp_enabled = True

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        with parameter_groups():
            return super()._prepare_for_training(*args, **kwargs)  # type: ignore[no-untyped-call]

    def _evaluate(self, *args: Any, **kwargs: Any) -> Any:
        with gathered(self._plain_model):
            return super()._evaluate(*args, **kwargs)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        if self.is_fsdp_enabled:
            weights = full_weights(self._plain_model)
            self._save(output_dir or self.args.output_dir, state_dict=weights)
        else:
            super().save_model(output_dir, _internal_call)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.is_fsdp_enabled:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        assert self.optimizer is not None
        assert self.lr_scheduler is not None
        save_optimizer(self._plain_model, self.optimizer, Path(output_dir))
        if self.args.should_save:
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if self.is_fsdp_enabled:
            load_weights(self._plain_model, Path(resume_from_checkpoint))
        else:
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if not self.is_fsdp_enabled or checkpoint is None:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        assert self.optimizer is not None
        assert self.lr_scheduler is not None
        load_optimizer(self._plain_model, self.optimizer, Path(checkpoint))
        scheduler = torch.load(Path(checkpoint) / SCHEDULER_NAME, weights_only=True)
        self.lr_scheduler.load_state_dict(scheduler)

    @property
    def _plain_model(self) -> torch.nn.Module:
        """The unwrapped model with plain weight names, even if compiled."""
        model = self.accelerator.unwrap_model(self.model, keep_torch_compile=False)
        assert isinstance(model, torch.nn.Module)
        return model


def _refuse_what_cannot_be_sharded(model: Any, args: TrainingArguments) -> None:
    if hasattr(model, "peft_config"):
        reason = "the model has LoRA adapters, which can't be sharded; expected sharding none"
    elif args.optim == OptimizerNames.ADAFACTOR:
        reason = "optim is adafactor, whose state can't be sharded; expected a kind of AdamW"
    elif args.parallel_mode != ParallelMode.DISTRIBUTED:
        reason = "this process was started without torchrun; start it with torchrun"
    else:
        return
    raise TrainingError(FailureCode.BAD_CONFIG, f"sharding is fsdp, but {reason}", param="sharding")
