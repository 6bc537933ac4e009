"""Saves and loads an adapter directory: trained tensors in peft's format, and their configuration.

adapter_model.safetensors   LoRA weights and new rows, by the names of a plain T5's modules
adapter_config.json         for users of peft
flant5_adapter.json         for flant5; written last
config.json, generation_config.json    of the merged model
"""

import copy
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from transformers import T5ForConditionalGeneration

from flant5_train.adapters.record import AdapterRecord
from flant5_train.models.lora import EMBEDDING, OUTPUT_LAYER, adapter_tensors, lora_config
from flant5_train.protocol.model_files import ADAPTER_RECORD, ADAPTER_WEIGHTS, bad_model

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
