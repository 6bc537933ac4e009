"""From an adapter's directory to a whole model."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from transformers import T5ForConditionalGeneration

from flant5_train.adapters.files import load_adapter
from flant5_train.adapters.lora import attach, merge
from flant5_train.adapters.record import read_record

T5 = TypeVar("T5", bound=T5ForConditionalGeneration)


def merged_model(directory: Path, *, load_base: Callable[[str], T5]) -> T5:
    """The adapter in `directory` added to its base, which `load_base` loads in full precision with
    a row for every token of the adapter's run, by the name in the adapter's record.

    Raises TrainingError when the record, the base or the tensors can't be used.
    """
    record = read_record(directory)
    model = load_base(record.base)
    attach(model, record, seed=0)  # what is drawn by it is overwritten
    load_adapter(model, directory)
    merge(model)
    return model
