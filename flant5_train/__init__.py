"""Fine-tuning of Flan-T5 on multi-turn conversations.

The public names are those of FastChat's train_flant5, which this package re-implements. Each one is
loaded on first use: importing `flant5_train.config` must not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flant5_train.arguments import DataArguments, ModelArguments, TrainingArguments
    from flant5_train.data.collator import DataCollatorForSupervisedDataset
    from flant5_train.data.dataset import SupervisedDataset, make_supervised_data_module
    from flant5_train.data.encoding import preprocess
    from flant5_train.models.loading import load_model, smart_tokenizer_and_embedding_resize
    from flant5_train.models.tokenizer import load_tokenizer
    from flant5_train.training.run import train

__all__ = [
    "DataArguments",
    "DataCollatorForSupervisedDataset",
    "ModelArguments",
    "SupervisedDataset",
    "TrainingArguments",
    "load_model",
    "load_tokenizer",
    "make_supervised_data_module",
    "preprocess",
    "smart_tokenizer_and_embedding_resize",
    "train",
]

_MODULE_OF = {
    "DataArguments": "arguments",
    "DataCollatorForSupervisedDataset": "data.collator",
    "ModelArguments": "arguments",
    "SupervisedDataset": "data.dataset",
    "TrainingArguments": "arguments",
    "load_model": "models.loading",
    "load_tokenizer": "models.tokenizer",
    "make_supervised_data_module": "data.dataset",
    "preprocess": "data.encoding",
    "smart_tokenizer_and_embedding_resize": "models.loading",
    "train": "training.run",
}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"flant5_train.{_MODULE_OF[name]}"), name)
