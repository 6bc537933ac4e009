"""Trainer of adapters: checkpoints hold only the trained weights, the result is a merged model."""

from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerFast, T5ForConditionalGeneration, T5Tokenizer

from flant5_train.adapters.files import load_adapter, save_adapter
from flant5_train.adapters.readme import write_readme
from flant5_train.adapters.record import AdapterRecord
from flant5_train.models.exported_model import complete_export
from flant5_train.models.loading import load_model
from flant5_train.models.tokenizer import AnyTokenizer
from flant5_train.protocol.model_files import TOKENIZER_DIRECTORY
from flant5_train.training.trainer import ConversationTrainer

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
