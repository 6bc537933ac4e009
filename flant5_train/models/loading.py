"""Base models: loading, and adding rows for new tokens without harming trained rows."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, T5ForConditionalGeneration, T5Tokenizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from flant5_train.estimates.checkpoint import embedding_rows
from flant5_train.models.flan_t5 import FlanT5
from flant5_train.models.lora import merged_model
from flant5_train.models.tokenizer import AnyTokenizer, add_tokens
from flant5_train.protocol.failure import FailureCode, TrainingError, failure_code
from flant5_train.protocol.model_files import (
    bad_model,
    check_model_directory,
    holds_adapter,
    refuse_other_architecture,
    tokenizer_directory,
)


def load_model(
    name_or_path: str | Path,
    tokenizer: AnyTokenizer,
    *,
    quantization: QuantizationConfigMixin | None = None,
) -> FlanT5:
    """Returns the base model in float32 with a row for every token of `tokenizer`.

    For the directory of an adapter saved by a run, merges the adapter into its base. Without
    float32, a bfloat16 checkpoint would be trained in bfloat16, where small updates vanish. Raises
    TrainingError if there is no such model or it is not a Flan-T5.
    """
    check_model_directory(name_or_path)
    if holds_adapter(name_or_path):
        return _load_adapted(Path(name_or_path), tokenizer)
    try:
        config = AutoConfig.from_pretrained(name_or_path, trust_remote_code=False)
        refuse_other_architecture(
            name_or_path,
            model_type=getattr(config, "model_type", None),
            is_first_kind=getattr(config, "scale_decoder_outputs", False),
        )
        num_old_tokens = num_kept_tokens(name_or_path, tokenizer)
        loaded: Any = FlanT5.from_pretrained(
            name_or_path,
            dtype=torch.float32,
            use_safetensors=True,  # of hub models too
            trust_remote_code=False,
            quantization_config=quantization,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # refused below, by name
        )
    except TrainingError:
        raise
    except Exception as error:
        # Loaders raise any kind of error for unreadable files.
        if failure_code(error) is not FailureCode.INTERNAL:
            raise  # a full disk or too little memory is not the model's fault
        raise bad_model(name_or_path, f"{type(error).__name__}: {error}") from error
    model: FlanT5 = loaded[0]
    _refuse_wrong_weights(loaded[1], name_or_path)
    resize_embeddings(model, num_tokens=len(tokenizer), num_old_tokens=num_old_tokens)
    return model


def _load_adapted(directory: Path, tokenizer: AnyTokenizer) -> FlanT5:
    own = _own_tokenizer(directory)
    model = merged_model(directory, load_base=lambda base: load_model(base, own))
    if (num_kept := _num_alike(own, tokenizer)) < max(len(own), len(tokenizer)):
        resize_embeddings(model, num_tokens=len(tokenizer), num_old_tokens=num_kept)
    return model


def num_kept_tokens(name_or_path: str | Path, tokenizer: AnyTokenizer) -> int:
    """Returns the number of leading tokens of a model that mean the same in `tokenizer`.

    Their rows are kept; rows of other tokens are reinitialized. The lossless tokenization keeps
    32,100 of FastChat-T5's 32,110 tokens.
    """
    return _num_alike(_own_tokenizer(name_or_path), tokenizer)


def rows_begun_anew(name_or_path: str | Path, tokenizer: AnyTokenizer) -> str | None:
    """Returns a warning if the last tokens of a model mean something else in `tokenizer`."""
    own = _own_tokenizer(name_or_path)
    num_lost = len(own) - _num_alike(own, tokenizer)
    if num_lost == 0:
        return None
    return (
        f"the last {num_lost} of the {len(own)} tokens that model '{name_or_path}' was trained "
        "with mean other pieces in this run's tokenization, and their rows are reinitialized; set "
        "tokenization to that of the model (fastchat for a FastChat-T5) to keep them"
    )


def _own_tokenizer(name_or_path: str | Path) -> Any:
    return AutoTokenizer.from_pretrained(tokenizer_directory(name_or_path), trust_remote_code=False)


def _num_alike(one: AnyTokenizer, other: AnyTokenizer) -> int:
    ids = [*range(min(len(one), len(other)))]
    pairs = zip(one.convert_ids_to_tokens(ids), other.convert_ids_to_tokens(ids), strict=True)
    return next((index for index, (own, new) in enumerate(pairs) if own != new), len(ids))


def _refuse_wrong_weights(loading: Mapping[str, Any], name_or_path: str | Path) -> None:
    """Raises TrainingError for weights that the library would initialize randomly."""
    if missing := sorted(loading["missing_keys"]):
        found = f"its weights lack {len(missing)} tensors, {missing[0]} among them"
        raise bad_model(name_or_path, found)
    for name, found, expected in sorted(loading["mismatched_keys"]):
        shapes = f"the shape {[*found]}; its config.json asks for {[*expected]}"
        raise bad_model(name_or_path, f"its tensor {name} has {shapes}")


def smart_tokenizer_and_embedding_resize(
    special_tokens_dict: Mapping[str, str],
    other_tokens: Iterable[str],
    tokenizer: T5Tokenizer,
    model: T5ForConditionalGeneration,
) -> None:
    """Adds tokens to a tokenizer and rows for them to a model, both in place.

    Name and arguments are those of FastChat's train_flant5.
    """
    num_old_tokens = len(tokenizer)
    add_tokens(special_tokens_dict, other_tokens, tokenizer)
    resize_embeddings(model, num_tokens=len(tokenizer), num_old_tokens=num_old_tokens)


def resize_embeddings(
    model: T5ForConditionalGeneration, *, num_tokens: int, num_old_tokens: int
) -> None:
    """Resizes input embedding and output layer to `num_tokens` rows, padded to a multiple of 64.

    New rows start at the mean of the rows of the `num_old_tokens` real tokens. A T5 checkpoint has
    more rows than tokens (32,128 for 32,100). The extra rows were never trained and are ignored.
    """
    # transformers 5 sets this to True for every T5. Resizing would then tie the output layer to the
    # embedding, and Flan-T5's own output layer would be lost. transformers 4 also needs False in
    # the exported configuration.
    model.config.tie_word_embeddings = False
    if model.lm_head.weight is model.shared.weight:
        # The loader shares both if they hold equal values.
        model.lm_head.weight = torch.nn.Parameter(model.shared.weight.detach().clone())
    input_rows = model.get_input_embeddings().weight.detach().clone()
    output_rows = model.get_output_embeddings().weight.detach().clone()
    num_rows = embedding_rows(max(num_tokens, num_old_tokens))
    model.resize_token_embeddings(num_rows, mean_resizing=False)
    with torch.no_grad():
        for layer, rows in (
            (model.get_input_embeddings(), input_rows),
            (model.get_output_embeddings(), output_rows),
        ):
            layer.weight[:num_old_tokens] = rows[:num_old_tokens]
            layer.weight[num_old_tokens:] = rows[:num_old_tokens].mean(dim=0)
