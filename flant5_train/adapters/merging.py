"""Loads an adapter directory as a merged model."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from transformers import T5ForConditionalGeneration

from flant5_train.adapters.files import load_adapter
from flant5_train.adapters.record import read_record
from flant5_train.models.lora import attach, merge

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
