import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from transformers import AutoModelForSeq2SeqLM, T5Config, T5ForConditionalGeneration

from flant5_train.demo_model import small_config
from flant5_train.models.loading import (
    load_model,
    resize_embeddings,
    smart_tokenizer_and_embedding_resize,
)
from flant5_train.models.tokenizer import FASTCHAT_PAD, FASTCHAT_TOKENS, load_tokenizer
from flant5_train.protocol.failure import FailureCode, TrainingError
from tests.flant5_train.conftest import TINY


def model_with_spare_rows() -> T5ForConditionalGeneration:
    """Like T5: 300 rows for 290 tokens; the spare ones hold garbage."""
    torch.manual_seed(3)
    model = T5ForConditionalGeneration(small_config(vocab_size=300, **TINY))
    model.shared.weight.data[290:] = 1e6
    model.lm_head.weight.data[290:] = 1e6
    assert model.lm_head.weight is not model.shared.weight
    return model


@pytest.mark.parametrize("num_tokens", [295, 310, 400])
def test_new_rows_start_at_the_mean_of_the_real_vocabulary(num_tokens: int) -> None:
    model = model_with_spare_rows()
    before = {n: getattr(model, n).weight.detach().clone() for n in ("shared", "lm_head")}
    resize_embeddings(model, num_tokens=num_tokens, num_old_tokens=290)
    for name, old in before.items():
        weight = getattr(model, name).weight
        assert weight.shape[0] % 64 == 0
        assert weight.shape[0] >= num_tokens
        assert torch.equal(weight[:290], old[:290])
        mean = old[:290].mean(dim=0)
        assert torch.allclose(weight[290:], mean.expand_as(weight[290:]))


def test_the_output_layer_stays_apart_from_the_embedding() -> None:
    model = model_with_spare_rows()
    resize_embeddings(model, num_tokens=400, num_old_tokens=290)
    assert model.lm_head.weight.data_ptr() != model.shared.weight.data_ptr()
    assert model.encoder.embed_tokens.weight.data_ptr() == model.shared.weight.data_ptr()
    assert model.decoder.embed_tokens.weight.data_ptr() == model.shared.weight.data_ptr()
    assert model.config.tie_word_embeddings is False
    assert model.config.vocab_size == model.lm_head.weight.shape[0]


def test_a_model_saved_with_equal_rows_is_loaded_untied(tiny_model: Path, tmp_path: Path) -> None:
    directory = changed_copy(tiny_model, tmp_path / "equal")
    model = T5ForConditionalGeneration.from_pretrained(directory)
    model.lm_head.weight.data = model.shared.weight.data.clone()
    model.save_pretrained(directory)
    loaded = load_model(directory, load_tokenizer(directory))
    assert loaded.lm_head.weight is not loaded.shared.weight
    assert torch.equal(loaded.lm_head.weight, loaded.shared.weight)


def test_logits_are_equal_before_and_after_export(tiny_model: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    model: Any = load_model(tiny_model, tokenizer).eval()  # type: ignore[no-untyped-call]
    model.save_pretrained(tmp_path)
    reloaded = AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval()
    batch = tokenizer(["Hello {x}\n"], return_tensors="pt")
    decoder = torch.tensor([[0, 5, 6]])
    with torch.no_grad():
        logits = [m(**batch, decoder_input_ids=decoder).logits for m in (model, reloaded)]
    assert torch.equal(*logits)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["tie_word_embeddings"] is False


def test_a_base_model_of_ours_is_the_same_model_to_the_plain_library(tiny_model: Path) -> None:
    ours: Any = load_model(tiny_model, load_tokenizer(tiny_model)).eval()  # type: ignore[no-untyped-call]
    plain: Any = AutoModelForSeq2SeqLM.from_pretrained(tiny_model)
    ids = torch.tensor([[5, 6, 7, 1]])
    with torch.no_grad():
        logits = [m(input_ids=ids, decoder_input_ids=ids).logits for m in (ours, plain.eval())]
    num_tokens = len(load_tokenizer(tiny_model))  # ours has more rows, for a width of 64
    torch.testing.assert_close(*(each[..., :num_tokens] for each in logits))


def test_a_checkpoint_in_bfloat16_is_trained_in_float32(tiny_model: Path, tmp_path: Path) -> None:
    directory = tmp_path / "bf16"
    shutil.copytree(tiny_model, directory)
    AutoModelForSeq2SeqLM.from_pretrained(tiny_model, dtype=torch.bfloat16).save_pretrained(
        directory
    )
    model = load_model(directory, load_tokenizer(directory))
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_fastchats_function_adds_tokens_and_rows(tiny_model: Path) -> None:
    from transformers import T5Tokenizer

    tokenizer = T5Tokenizer.from_pretrained(tiny_model)
    model = T5ForConditionalGeneration.from_pretrained(tiny_model)
    known = len(tokenizer)
    smart_tokenizer_and_embedding_resize(
        {"pad_token": FASTCHAT_PAD}, FASTCHAT_TOKENS, tokenizer, model
    )
    assert len(tokenizer) > known
    assert model.shared.weight.shape[0] >= len(tokenizer)


def changed_copy(source: Path, target: Path, **fields: object) -> Path:
    """A model directory with other fields in its config.json; None takes a field away."""
    shutil.copytree(source, target)
    config = json.loads((target / "config.json").read_text()) | fields
    kept = {name: value for name, value in config.items() if value is not None}
    (target / "config.json").write_text(json.dumps(kept))
    return target


def test_other_models_are_refused_by_name(tiny_model: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    first_kind = {"tie_word_embeddings": None, "scale_decoder_outputs": None}
    tied = changed_copy(tiny_model, tmp_path / "tied", **first_kind)
    with pytest.raises(TrainingError, match="whose output layer is tied"):
        load_model(tied, tokenizer)
    other = changed_copy(tiny_model, tmp_path / "other", model_type="bart")
    with pytest.raises(TrainingError, match="found a model of type 'bart'"):
        load_model(other, tokenizer)


def broken_model(tiny_model: Path, directory: Path, how: str) -> Path:
    if how == "missing":
        return directory
    shutil.copytree(tiny_model, directory)
    weights = directory / "model.safetensors"
    if how == "no config":
        (directory / "config.json").unlink()
    elif how == "no weights":
        weights.unlink()
    elif how == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif how == "overwritten":
        weights.write_bytes(b"x" * weights.stat().st_size)
    elif how == "lacks a tensor":
        tensors = safetensors.torch.load_file(weights)
        del tensors["decoder.final_layer_norm.weight"]
        safetensors.torch.save_file(tensors, weights, metadata={"format": "pt"})
    elif how == "another shape":
        changed_copy(tiny_model, directory / "x", d_ff=32)
        shutil.copy(directory / "x" / "config.json", directory)
    elif how == "bad config":
        (directory / "config.json").write_text("{")
    return directory


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ("missing", "there is no such directory"),
        ("no config", "found no config.json in it, but "),
        ("no weights", "found no weights in it, but config.json, generation_config.json, "),
        ("cut", "SafetensorError: "),
        ("overwritten", "SafetensorError: "),
        ("lacks a tensor", "its weights lack 1 tensors, decoder.final_layer_norm.weight among"),
        ("another shape", "has the shape [64, 32]; its config.json asks for [32, 32]"),
        ("bad config", "JSON"),
    ],
)
def test_a_directory_without_a_usable_model_is_refused_with_what_was_found(
    tiny_model: Path, tmp_path: Path, how: str, found: str
) -> None:
    directory = broken_model(tiny_model, tmp_path / "model", how)
    with pytest.raises(TrainingError) as caught:
        load_model(directory, load_tokenizer(tiny_model))
    assert caught.value.code is FailureCode.BAD_MODEL
    assert caught.value.param == "model"
    assert str(caught.value).startswith(f"model '{directory}' can't be loaded: ")
    assert found in str(caught.value)


def test_a_file_in_the_place_of_a_model_is_refused(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    with pytest.raises(TrainingError, match="found a file; expected a model's directory"):
        load_model(tiny_model / "config.json", tokenizer)


def test_a_vocabulary_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes(b"no vocabulary")
    with pytest.raises(TrainingError, match=r"found a spiece.model that is not a sentencepiece"):
        load_tokenizer(tmp_path)


def test_a_config_of_our_own_is_shaped_like_flan_t5() -> None:
    config = small_config(vocab_size=10, **TINY)
    assert isinstance(config, T5Config)
    assert config.scale_decoder_outputs is False
    assert config.is_gated_act
