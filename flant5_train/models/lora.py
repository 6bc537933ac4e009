"""LoRA in a T5: adds trainable layers and rows, and merges them back into a plain T5.

peft's layers replace modules inside the model; there is no wrapper around it. The model keeps its
class, so the trainer, the loss and the evaluation need no special case.
"""

from collections.abc import Mapping

import torch
from peft import LoraConfig, TaskType
from peft.tuners.lora import LoraLayer
from peft.utils import TrainableTokensWrapper
from peft.utils.save_and_load import get_peft_model_state_dict
from transformers import T5ForConditionalGeneration

from flant5_train.adapters.record import AdapterRecord

EMBEDDING = "shared"
OUTPUT_LAYER = "lm_head"
ADAPTER_NAME = "default"
"""peft's name for the only adapter of a model."""


def attach(model: T5ForConditionalGeneration, record: AdapterRecord, *, seed: int) -> None:
    """Freezes `model` and adds LoRA layers, which change no output yet, and trainable rows for new
    tokens. The same seed gives the same initial weights."""
    # A T5 has three embedding modules that share one weight, and peft replaces modules. Without
    # this, encoder and decoder would train separate rows.
    model.set_input_embeddings(model.shared)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.add_adapter(lora_config(record, row_modules=(EMBEDDING, OUTPUT_LAYER)))
    model.set_input_embeddings(model.shared)
    for parameter in model.parameters():
        if parameter.requires_grad:
            # peft creates LoRA weights in the dtype of the base weight, which may be bfloat16.
            parameter.data = parameter.data.float()


def lora_config(record: AdapterRecord, *, row_modules: tuple[str, ...]) -> LoraConfig:
    """Returns peft's configuration of a record. Rows of new tokens are trained in `row_modules`."""
    rows = record.new_rows
    return LoraConfig(
        task_type=TaskType.SEQ_2_SEQ_LM,
        base_model_name_or_path=record.base,
        r=record.rank,
        lora_alpha=record.alpha,
        lora_dropout=record.dropout,
        target_modules=[*record.target_modules],
        trainable_token_indices=dict.fromkeys(row_modules, rows) if rows else None,
    )


def adapter_tensors(
    model: T5ForConditionalGeneration, state: Mapping[str, torch.Tensor] | None = None
) -> dict[str, torch.Tensor]:
    """Returns the trained tensors by name, from `state` if given, otherwise from the model."""
    return dict(
        get_peft_model_state_dict(
            model,
            state_dict=None if state is None else {**state},
            adapter_name=ADAPTER_NAME,
            save_embedding_layers=False,
        )
    )


def merge(model: T5ForConditionalGeneration) -> None:
    """Merges the adapter into the weights. The model is then a plain T5 again."""
    for name, module in [*model.named_modules()]:
        if isinstance(module, (LoraLayer, TrainableTokensWrapper)):
            model.set_submodule(name, _merged(module))
    model.set_input_embeddings(model.shared)
    model.delete_adapter(ADAPTER_NAME)
    model.requires_grad_(True)


def _merged(module: LoraLayer | TrainableTokensWrapper) -> torch.nn.Module:
    if isinstance(module, TrainableTokensWrapper):
        return module.unload_and_optionally_merge_module(
            merge=True, safe_merge=False, adapter_names=None
        )
    module.merge()
    return module.get_base_layer()
