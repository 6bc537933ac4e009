"""What a run of LoRA leaves answers: the merged model, its checkpoints, and its base."""

from pathlib import Path

import torch

from flant5_train.models.loading import load_model
from flant5_train.models.tokenizer import LosslessTokenizer, load_tokenizer
from flant5_train.serving.model_cache import LoadedModel, expected_bytes, load
from tests.flant5_train.adapter_runs import logits
from tests.flant5_train.runs import Run


def loaded(directory: Path) -> LoadedModel:
    model = load(str(directory), device=torch.device("cpu"), max_source_tokens=4096)
    assert isinstance(model.tokenizer, LosslessTokenizer)
    assert 0 < model.num_bytes <= expected_bytes(str(directory))
    return model


def test_the_last_checkpoint_is_the_merged_model_and_neither_is_the_base(
    base: Path, finished: Run
) -> None:
    merged = loaded(finished.output_dir)
    last = loaded(finished.output_dir / "checkpoint-6")
    first = loaded(finished.output_dir / "checkpoint-3")
    tokens = slice(len(merged.tokenizer))  # rows beyond them stand for nothing
    torch.testing.assert_close(
        logits(last.model)[..., tokens], logits(merged.model)[..., tokens], rtol=1e-5, atol=1e-5
    )
    assert (logits(first.model) - logits(merged.model)).abs().max() > 0.01
    untrained = loaded(base)
    assert torch.equal(logits(untrained.model), logits(load_model(base, load_tokenizer(base)))), (
        "a base model answers as a run would begin with it"
    )


def test_limits_are_those_of_the_run(base: Path, finished: Run) -> None:
    assert (loaded(base).max_source_tokens, loaded(base).max_new_tokens) == (2048, 512)
    merged = loaded(finished.output_dir)
    assert (merged.max_source_tokens, merged.max_new_tokens) == (96, 96)
