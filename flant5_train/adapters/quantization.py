"""4-bit quantization of QLoRA's frozen base model (NVIDIA GPUs only)."""

from importlib.util import find_spec

import torch
from transformers import BitsAndBytesConfig, T5ForConditionalGeneration

from flant5_train.protocol.failure import FailureCode, TrainingError

_IN_FULL = ("lm_head", "shared", "wo")
"""Modules that are not quantized. The output layer and the embedding have trained rows. T5 casts
the input of `wo` to the dtype of its weight, which is uint8 when quantized to 4 bits."""


def refuse_machine_without_qlora() -> None:
    """Raises TrainingError if this machine can't run QLoRA, with the reason and the remedy."""
    if not torch.cuda.is_available():
        raise _cannot(
            f"needs an NVIDIA GPU, and torch {torch.__version__} finds none on this machine; "
            "expected a worker with a GPU, or finetuning_type lora, which runs anywhere"
        )
    if find_spec("bitsandbytes") is None:
        raise _cannot(
            "needs the package bitsandbytes, which is not installed; install it with "
            "pip install 'flant5[qlora]'"
        )


def four_bits(*, compute_in_bfloat16: bool) -> BitsAndBytesConfig:
    """Returns the configuration of NF4 with quantized scales, as in the QLoRA paper (arXiv
    2305.14314)."""
    dtype = torch.bfloat16 if compute_in_bfloat16 else torch.float32
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=[*_IN_FULL],
    )


def hold_the_rest_in_bfloat16(model: T5ForConditionalGeneration) -> None:
    """Halves the memory of the `wo` weights, a quarter of a T5's weights. They are frozen, and
    autocast rounds them to bfloat16 in each step anyway: the results are the same."""
    for module in model.modules():
        wo = getattr(module, "wo", None)
        if isinstance(wo, torch.nn.Linear):
            wo.to(torch.bfloat16)


def _cannot(what: str) -> TrainingError:
    return TrainingError(
        FailureCode.BAD_CONFIG, f"finetuning_type is qlora, which {what}", param="finetuning_type"
    )
