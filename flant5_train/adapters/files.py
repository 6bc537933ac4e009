"""An adapter's directory: the trained tensors in peft's format, and what is needed beside them.

adapter_model.safetensors   additions and new rows, by the names of a plain T5's modules
adapter_config.json         for peft's users
flant5_adapter.json         for us; written last
config.json, generation_config.json    of the model, once merged
"""

import copy
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from transformers import T5ForConditionalGeneration

from flant5_train.adapters.lora import EMBEDDING, OUTPUT_LAYER, adapter_tensors, lora_config
from flant5_train.adapters.record import AdapterRecord
from flant5_train.model_files import ADAPTER_RECORD, ADAPTER_WEIGHTS, bad_model

_PREFIX = "base_model.model."
_EMBEDDINGS_OF_T5 = ("encoder.embed_tokens", "decoder.embed_tokens")
"""Where peft, on a plain T5, has to put the rows: the modules that look tokens up. The third one,
`shared`, holds the same weight and is never called."""


def save_adapter(
    model: T5ForConditionalGeneration,
    directory: Path,
    *,
    record: AdapterRecord,
    state: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Writes the adapter of `model`, its tensors taken from `state` where they are spread over
    processes. A file that is there is replaced."""
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
    """Puts saved tensors into a model that `attach` prepared by the same record.

    Raises TrainingError when the file holds others than the model has.
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
                f"ask for the shape {[*tensor.shape]}",
            )
        tensor.copy_(saved[name])


def _names_in_file(name: str) -> tuple[str, ...]:
    """The rows of the one embedding stand under both modules that look tokens up.

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
        # How the base was held while it was trained, not how the merged model is to be loaded.
        del config.quantization_config
    config.save_pretrained(directory)
    if model.generation_config is not None:
        model.generation_config.save_pretrained(directory)
