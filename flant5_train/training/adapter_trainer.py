"""Full fine-tuning, LoRA or QLoRA: loads the model and selects the trainer.

With adapters, checkpoints hold only the trained weights, and the result is a merged model. Beside
it, `adapter/README.md` shows the code that loads the adapter with peft.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from transformers import PreTrainedTokenizerFast, T5ForConditionalGeneration, T5Tokenizer

from flant5_train.arguments import Arguments, ModelArguments
from flant5_train.config import OF_LORA, Hyperparameters
from flant5_train.estimates.checkpoint import embedding_rows
from flant5_train.models.exported_model import complete_export
from flant5_train.models.flan_t5 import FlanT5
from flant5_train.models.loading import load_model, num_kept_tokens
from flant5_train.models.lora import (
    AdapterRecord,
    attach,
    check_qlora_available,
    four_bits,
    hold_the_rest_in_bfloat16,
    load_adapter,
    save_adapter,
)
from flant5_train.models.tokenizer import AnyTokenizer
from flant5_train.protocol.failure import FailureCode, TrainingError
from flant5_train.protocol.model_files import TOKENIZER_DIRECTORY, adapter_for_qlora, holds_adapter
from flant5_train.training.trainer import ConversationTrainer

_README = "README.md"
_TEXT = """# The adapter of this model

The trained weights, in the format of `peft`. The model in the parent directory has them merged and
does not need `peft`. Use that one unless several adapters share one base model in memory.

The adapter has embedding and output rows for tokens that its base model lacks. `peft` does not add
these rows to the base model by itself. Load it like this:

```python
from peft import PeftModel
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

adapter = "."  # where this file is
base = AutoModelForSeq2SeqLM.from_pretrained({base!r}, dtype="float32")
base.config.tie_word_embeddings = False  # transformers 5 sets True for every T5
base.resize_token_embeddings({rows}, mean_resizing=False)
model = PeftModel.from_pretrained(base, adapter).eval()
tokenizer = AutoTokenizer.from_pretrained(adapter + "/{tokenizer}")
```

Log-probabilities then differ from the merged model's by less than 1e-6 (peft 0.21.2, transformers
5.23). In transformers before 4.56 `dtype` is called `torch_dtype`.

`AutoPeftModelForSeq2SeqLM.from_pretrained` can't load it: the first question raises an IndexError.
If the tokenizer's files are copied next to this one, it ties the output layer to the input
embedding instead, and the answers are nonsense. The same happens if `resize_token_embeddings` is
called before `tie_word_embeddings` is set to False.
"""


def write_readme(directory: Path, *, record: AdapterRecord) -> None:
    """Writes the README. Raises OSError when the disk is full."""
    text = _TEXT.format(
        base=record.base,
        rows=embedding_rows(max(record.num_tokens, record.num_base_tokens)),
        tokenizer=TOKENIZER_DIRECTORY,
    )
    (directory / _README).write_text(text, encoding="utf-8")


ADAPTER_DIRECTORY = "adapter"
"""Subdirectory of the output directory for the finished adapter; the merged model is above it."""


class AdapterTrainer(ConversationTrainer):
    """Trains a model that `attach` prepared with the record `adapter`."""

    def __init__(self, *, adapter: AdapterRecord, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._adapter = adapter

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Saves a checkpoint, which is only the adapter, in `output_dir`. None saves the final
        model: the merged model, with the adapter in a subdirectory."""
        if output_dir is not None:
            super().save_model(output_dir, _internal_call)
            return
        assert self.args.output_dir is not None
        whole = Path(self.args.output_dir)
        super().save_model(str(whole / ADAPTER_DIRECTORY))
        if self.args.should_save:
            write_readme(whole / ADAPTER_DIRECTORY, record=self._adapter)
            self._save_merged(whole)

    def _save_merged(self, directory: Path) -> None:
        """Merges the saved adapter, in full precision even if the base was quantized for training.
        Loading the files proves that they are complete."""
        merged = load_model(directory / ADAPTER_DIRECTORY, self._tokenizer)
        merged.generation_config = self._trained.generation_config
        merged.config.n_positions = self._trained.config.n_positions
        merged.save_pretrained(directory)
        self._tokenizer.save_pretrained(str(directory))
        complete_export(directory)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        assert output_dir is not None, "save_model names it"
        if self.args.should_save:
            save_adapter(self._trained, Path(output_dir), record=self._adapter, state=state_dict)
            self._tokenizer.save_pretrained(str(Path(output_dir) / TOKENIZER_DIRECTORY))
            complete_export(Path(output_dir))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_adapter(self._trained, Path(resume_from_checkpoint))

    @property
    def _trained(self) -> T5ForConditionalGeneration:
        assert isinstance(self.model, T5ForConditionalGeneration)
        return self.model

    @property
    def _tokenizer(self) -> AnyTokenizer:
        assert isinstance(self.processing_class, (PreTrainedTokenizerFast, T5Tokenizer))
        return self.processing_class


TrainerClass = Callable[..., ConversationTrainer]


def check_lora_supported(model: ModelArguments) -> None:
    """Raises TrainingError if a LoRA argument is out of range or has no effect, or if this machine
    can't run QLoRA."""
    _hyperparameters(model)
    if model.finetuning_type == "qlora":
        check_qlora_available()


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
