"""LoRA in a T5: adds trainable layers and rows, saves them, and merges them into a plain T5.

peft's layers replace modules inside the model; there is no wrapper around it. The model keeps its
class, so the trainer, the loss and the evaluation need no special case. QLoRA quantizes the frozen
base model to 4 bits (NVIDIA GPUs only).

An adapter directory holds the trained tensors in peft's format, and their configuration:

    adapter_model.safetensors   LoRA weights and new rows, by the names of a plain T5's modules
    adapter_config.json         for users of peft
    flant5_adapter.json         for flant5; written last
    config.json, generation_config.json    of the merged model

flant5 writes peft's configuration for its users and never reads it: it may name modules to import,
or any model on a hub. Only a directory with flant5's record is accepted as a model. Example of the
record, with the base model of the adapter and its settings:

    {"base": "/models/flan-t5-xl", "num_base_tokens": 32100, "num_tokens": 32383, "rank": 16,
     "alpha": 32, "dropout": 0.05, "target_modules": ["q", "v"]}
"""

import copy
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import safetensors.torch
import torch
from peft import LoraConfig, TaskType
from peft.tuners.lora import LoraLayer
from peft.utils import TrainableTokensWrapper
from peft.utils.save_and_load import get_peft_model_state_dict
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from transformers import BitsAndBytesConfig, T5ForConditionalGeneration

from flant5_train.config import Hyperparameters, TargetModule
from flant5_train.protocol.failure import FailureCode, TrainingError
from flant5_train.protocol.model_files import ADAPTER_RECORD, ADAPTER_WEIGHTS, bad_model


class AdapterRecord(BaseModel):
    """The content of `flant5_adapter.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    base: str
    """The base model: a hub name or an absolute directory."""
    num_base_tokens: int = Field(ge=1)
    """Vocabulary size of the base model."""
    num_tokens: int = Field(ge=1)
    """Vocabulary size of the run. The adapter holds the rows of tokens that the base lacks."""
    rank: int = Field(ge=1)
    alpha: int = Field(ge=1)
    dropout: float = Field(ge=0, lt=1)
    target_modules: tuple[TargetModule, ...]

    @classmethod
    def of(
        cls, hyperparameters: Hyperparameters, *, base: str | Path, tokens: tuple[int, int]
    ) -> "AdapterRecord":
        """Returns the record of a run; `tokens` are the vocabulary sizes of base and run."""
        rank = hyperparameters.lora_rank
        return cls(
            base=str(Path(base).resolve() if Path(base).exists() else base),
            num_base_tokens=min(tokens),
            num_tokens=tokens[1],
            rank=rank,
            alpha=hyperparameters.lora_alpha or 2 * rank,
            dropout=hyperparameters.lora_dropout,
            target_modules=hyperparameters.lora_target_modules,
        )

    @property
    def new_rows(self) -> list[int]:
        """The tokens whose rows are trained, in the input embedding and in the output layer."""
        return [*range(self.num_base_tokens, self.num_tokens)]

    def write(self, directory: Path) -> None:
        text = self.model_dump_json(indent=2) + "\n"
        (directory / ADAPTER_RECORD).write_text(text, encoding="utf-8")


def read_record(directory: Path) -> AdapterRecord:
    """Returns the record in a directory. Raises TrainingError if it is damaged."""
    try:
        return AdapterRecord.model_validate_json((directory / ADAPTER_RECORD).read_bytes())
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"])
        found = f"its {ADAPTER_RECORD} is damaged: {place or 'file'}: {fault['msg']}"
        raise bad_model(directory, found) from error


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


_PREFIX = "base_model.model."
_EMBEDDINGS_OF_T5 = ("encoder.embed_tokens", "decoder.embed_tokens")
"""Modules of a plain T5 in which peft must train the rows: they look tokens up. The third one,
`shared`, holds the same weight and is never called."""


def save_adapter(
    model: T5ForConditionalGeneration,
    directory: Path,
    *,
    record: AdapterRecord,
    state: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Writes the adapter of `model`. If tensors are sharded over processes, they are taken from
    `state`. Existing files are replaced."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / ADAPTER_RECORD).unlink(missing_ok=True)
    tensors = {
        saved: tensor.detach().to("cpu", copy=True).contiguous()
        for name, tensor in adapter_tensors(model, state).items()
        for saved in _names_in_file(name)
    }
    safetensors.torch.save_file(tensors, directory / ADAPTER_WEIGHTS, metadata={"format": "pt"})
    config = lora_config(record, row_modules=(*_EMBEDDINGS_OF_T5, OUTPUT_LAYER))
    config.inference_mode = True
    config.save_pretrained(str(directory))
    _save_configuration(model, directory)
    record.write(directory)


def load_adapter(model: T5ForConditionalGeneration, directory: Path) -> None:
    """Loads saved tensors into a model that `attach` prepared with the same record.

    Raises TrainingError if the tensors in the file don't match the model.
    """
    try:
        saved = safetensors.torch.load_file(directory / ADAPTER_WEIGHTS)
    except (OSError, safetensors.SafetensorError) as error:
        raise bad_model(directory, f"{ADAPTER_WEIGHTS}: {error}") from error
    own = {_names_in_file(name)[0]: tensor for name, tensor in adapter_tensors(model).items()}
    for name, tensor in own.items():
        if name not in saved or saved[name].shape != tensor.shape:
            found = f"the shape {[*saved[name].shape]}" if name in saved else "nothing"
            raise bad_model(
                directory,
                f"{ADAPTER_WEIGHTS} has {found} for {name}; {ADAPTER_RECORD} and the base model "
                f"require the shape {[*tensor.shape]}",
            )
        tensor.copy_(saved[name])


def _names_in_file(name: str) -> tuple[str, ...]:
    """Returns the names of a tensor in the file. Rows of the embedding are stored twice, for both
    modules that look tokens up.

    "shared.token_adapter.trainable_tokens_delta" -> (
        "base_model.model.encoder.embed_tokens.token_adapter.trainable_tokens_delta",
        "base_model.model.decoder.embed_tokens.token_adapter.trainable_tokens_delta")
    """
    module, _, rest = name.partition(".")
    places = _EMBEDDINGS_OF_T5 if module == EMBEDDING else (module,)
    return tuple(f"{_PREFIX}{place}.{rest}" for place in places)


def _save_configuration(model: T5ForConditionalGeneration, directory: Path) -> None:
    config = copy.deepcopy(model.config)
    if hasattr(config, "quantization_config"):
        # It describes the base model during training, not the merged model.
        del config.quantization_config
    config.save_pretrained(directory)
    if model.generation_config is not None:
        model.generation_config.save_pretrained(directory)


T5 = TypeVar("T5", bound=T5ForConditionalGeneration)


def merged_model(directory: Path, *, load_base: Callable[[str], T5]) -> T5:
    """Returns the base model with the adapter in `directory` merged.

    `load_base` loads the base model by the name in the adapter's record, in full precision and with
    a row for every token of the adapter's run. Raises TrainingError if the record, the base model
    or the tensors can't be used.
    """
    record = read_record(directory)
    model = load_base(record.base)
    attach(model, record, seed=0)  # the random weights are overwritten
    load_adapter(model, directory)
    merge(model)
    return model


_IN_FULL = ("lm_head", "shared", "wo")
"""Modules that are not quantized. The output layer and the embedding have trained rows. T5 casts
the input of `wo` to the dtype of its weight, which is uint8 when quantized to 4 bits."""


def check_qlora_available() -> None:
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
