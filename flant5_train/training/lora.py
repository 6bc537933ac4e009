"""Loads the model and selects the trainer for full fine-tuning, LoRA or QLoRA."""

from collections.abc import Callable
from functools import partial

from pydantic import ValidationError

from flant5_train.adapters.quantization import (
    four_bits,
    hold_the_rest_in_bfloat16,
    refuse_machine_without_qlora,
)
from flant5_train.adapters.record import AdapterRecord
from flant5_train.adapters.trainer import AdapterTrainer
from flant5_train.arguments import Arguments, ModelArguments
from flant5_train.config import OF_LORA, Hyperparameters
from flant5_train.models.flan_t5 import FlanT5
from flant5_train.models.loading import load_model, num_kept_tokens
from flant5_train.models.lora import attach
from flant5_train.models.tokenizer import AnyTokenizer
from flant5_train.protocol.failure import FailureCode, TrainingError
from flant5_train.protocol.model_files import adapter_for_qlora, holds_adapter
from flant5_train.training.trainer import ConversationTrainer

TrainerClass = Callable[..., ConversationTrainer]


def refuse_impossible_adapter(model: ModelArguments) -> None:
    """Raises TrainingError if a LoRA argument is out of range or has no effect, or if this machine
    can't run QLoRA."""
    _hyperparameters(model)
    if model.finetuning_type == "qlora":
        refuse_machine_without_qlora()


def load_for_training(arguments: Arguments, tokenizer: AnyTokenizer) -> tuple[FlanT5, TrainerClass]:
    """Returns the model with the trainable parts of `finetuning_type`, and its trainer."""
    name = arguments.model.model_name_or_path
    hyperparameters = _hyperparameters(arguments.model)
    if hyperparameters.finetuning_type == "full":
        return load_model(name, tokenizer), ConversationTrainer
    if hyperparameters.finetuning_type == "qlora":
        model = _load_quantized(name, tokenizer, in_bfloat16=arguments.training.bf16)
    else:
        model = load_model(name, tokenizer)
    tokens = (num_kept_tokens(name, tokenizer), len(tokenizer))
    record = AdapterRecord.of(hyperparameters, base=name, tokens=tokens)
    attach(model, record, seed=arguments.training.seed)
    return model, partial(AdapterTrainer, adapter=record)


def _load_quantized(name: str, tokenizer: AnyTokenizer, *, in_bfloat16: bool) -> FlanT5:
    if holds_adapter(name):
        raise adapter_for_qlora(name)
    model = load_model(name, tokenizer, quantization=four_bits(compute_in_bfloat16=in_bfloat16))
    if in_bfloat16:
        hold_the_rest_in_bfloat16(model)
    return model


def _hyperparameters(model: ModelArguments) -> Hyperparameters:
    """Validates the LoRA arguments with `Hyperparameters`, which defines their ranges."""
    names = ("finetuning_type", *OF_LORA)
    try:
        return Hyperparameters.model_validate({name: getattr(model, name) for name in names})
    except ValidationError as error:
        fault = error.errors()[0]
        param = str(fault["loc"][0]) if fault["loc"] else "finetuning_type"
        place = ".".join(str(part) for part in fault["loc"])
        found = f"{place}: found {fault['input']!r}; " if place else ""
        raise TrainingError(
            FailureCode.BAD_CONFIG, f"arguments: {found}{fault['msg']}", param=param
        ) from error
