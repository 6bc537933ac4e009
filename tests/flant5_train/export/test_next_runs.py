"""A run that begins with what another run left."""

from pathlib import Path

from flant5_train.models.loading import num_kept_tokens, rows_begun_anew
from flant5_train.models.tokenizer import FASTCHAT_TOKENS, load_tokenizer
from flant5_train.protocol.progress import WarningIssued
from tests.flant5_train.adapter_runs import save_base_model, train_here
from tests.flant5_train.runs import some_examples

NUM_T5_TOKENS = 1100
"""Of the trained vocabulary with T5's sentinels."""
FULL: dict[str, object] = {"finetuning_type": "full", "lora_rank": 16, "max_steps": 1}


def test_fastchat_goes_on_from_fastchat_and_lossless_begins_its_own_rows_anew(
    trained_vocabulary: Path, tmp_path: Path
) -> None:
    base = save_base_model(trained_vocabulary, tmp_path / "base")
    data = some_examples(tmp_path / "talks.json", 4)
    same = FULL | {"data_path": data}
    first = train_here(tmp_path / "first", base, tokenization="fastchat", **same)
    for directory in (first.output_dir, first.output_dir / "checkpoint-1"):
        fastchat = load_tokenizer(directory, tokenization="fastchat")
        numbers = [NUM_T5_TOKENS + 1 + number for number in range(len(FASTCHAT_TOKENS))]
        assert fastchat.convert_tokens_to_ids([*FASTCHAT_TOKENS]) == numbers
        assert rows_begun_anew(directory, fastchat) is None
    again = train_here(tmp_path / "again", first.output_dir, tokenization="fastchat", **same)
    assert not [each for each in again.records() if getattr(each, "param", "") == "tokenization"]
    other = train_here(tmp_path / "other", first.output_dir, tokenization="lossless", **same)
    (warning,) = (
        each
        for each in other.records()
        if isinstance(each, WarningIssued) and each.param == "tokenization"
    )
    assert "the last 10 of the 1110 tokens" in warning.message
    lossless = load_tokenizer(first.output_dir)
    assert num_kept_tokens(first.output_dir, lossless) == NUM_T5_TOKENS
