import json
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch
from peft import PeftModel
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, T5ForConditionalGeneration

from flant5_train.adapters.lora import adapter_tensors, attach, merge
from flant5_train.adapters.quantization import refuse_machine_without_qlora
from flant5_train.adapters.record import AdapterRecord, read_record
from flant5_train.failure import FailureCode, TrainingError
from flant5_train.model import load_model
from flant5_train.model_files import ADAPTER_RECORD, ADAPTER_WEIGHTS
from flant5_train.progress import CheckpointSaved
from flant5_train.tokenizer import load_tokenizer
from tests.flant5_train.adapter_runs import save_base_model, train_here
from tests.flant5_train.runs import Run, run

NUM_NEW_TOKENS = 269
"""What lossless tokenization adds to the trained vocabulary."""
FULL: dict[str, object] = {"finetuning_type": "full", "lora_rank": 16}
ROWS = "shared.token_adapter.trainable_tokens_delta"


@pytest.fixture(scope="module")
def base(trained_vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base_model(trained_vocabulary, tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def finished(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of six steps over the sequence: train, save, merge."""
    return train_here(tmp_path_factory.mktemp("lora") / "out", base, max_steps=6, save_steps=3)


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(directory / "model.safetensors")


def logits(model: torch.nn.Module) -> torch.Tensor:
    """Of texts with new tokens on both sides."""
    ids = torch.tensor([[17, 1105, 1250, 301, 1], [1362, 5, 1099, 1100, 1]])
    with torch.no_grad():
        result: torch.Tensor = model.eval()(input_ids=ids, decoder_input_ids=ids.flip(1)).logits
    return result


def test_only_the_additions_and_the_rows_of_new_tokens_are_trained(
    base: Path, finished: Run
) -> None:
    untrained = load_model(base, load_tokenizer(base)).state_dict()
    record = read_record(finished.output_dir / "adapter")
    new = slice(record.num_base_tokens, record.num_tokens)
    assert len(range(*new.indices(10_000))) == NUM_NEW_TOKENS
    changed = set()
    for name, weight in weights(finished.output_dir).items():
        before = untrained[name]
        if name in ("shared.weight", "lm_head.weight"):
            kept = torch.ones(len(weight), dtype=torch.bool)
            kept[new] = False
            assert torch.equal(weight[kept], before[kept]), name
            assert not torch.equal(weight[new], before[new]), name
        elif not torch.equal(weight, before):
            changed.add(name.split(".")[-2])
    assert changed == {"q", "k", "v", "o", "wi_0", "wi_1", "wo"}


def test_a_checkpoint_and_the_saved_adapter_hold_nothing_of_the_base(
    base: Path, finished: Run
) -> None:
    for directory in (finished.output_dir / "checkpoint-3", finished.output_dir / "adapter"):
        assert not (directory / "model.safetensors").exists()
        tensors = safetensors.torch.load_file(directory / ADAPTER_WEIGHTS)
        rows = {name: t for name, t in tensors.items() if "trainable_tokens" in name}
        additions = tensors.keys() - rows.keys()
        assert {tuple(t.shape) for t in rows.values()} == {(NUM_NEW_TOKENS, 32)}
        assert len(rows) == 3
        assert all(".lora_A." in name or ".lora_B." in name for name in additions)
        assert len(additions) == 2 * (4 + 8 + 3 + 3), "one layer each"
    saved = [r.path for r in finished.records() if isinstance(r, CheckpointSaved)]
    assert saved == [str(finished.output_dir / f"checkpoint-{step}") for step in (3, 6)]


# peft asks a model for it by a name that transformers has renamed.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_base_and_adapter_under_plain_peft_are_the_merged_model(
    base: Path, finished: Run, tmp_path: Path
) -> None:
    load_model(base, load_tokenizer(base)).save_pretrained(tmp_path)
    plain = AutoModelForSeq2SeqLM.from_pretrained(tmp_path)
    # transformers 5 says True for every T5, and peft would leave the output layer's rows out.
    plain.config.tie_word_embeddings = False
    adapted = PeftModel.from_pretrained(plain, str(finished.output_dir / "adapter"))
    untrained = logits(load_model(base, load_tokenizer(base)))
    merged = logits(AutoModelForSeq2SeqLM.from_pretrained(finished.output_dir))
    assert (merged - untrained).abs().max() > 0.1, "training changed something"
    torch.testing.assert_close(logits(adapted), merged, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(logits(adapted.merge_and_unload()), merged, rtol=1e-5, atol=1e-5)


def test_the_result_is_a_plain_model_with_its_tokenizer(finished: Run) -> None:
    config = json.loads((finished.output_dir / "config.json").read_text())
    assert config["tie_word_embeddings"] is False
    assert not (finished.output_dir / "adapter_config.json").exists()
    text = "def f(x):\n\treturn {x}  # ok"
    tokenizer = AutoTokenizer.from_pretrained(finished.output_dir)
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
    generation = json.loads((finished.output_dir / "generation_config.json").read_text())
    assert generation["max_new_tokens"] == 96


@pytest.mark.parametrize("step", [5, 15, 24])
def test_a_resumed_adapter_run_ends_bit_identical_to_an_uninterrupted_one(
    base: Path, tmp_path: Path, step: int
) -> None:
    settings = {"max_steps": 24, "save_steps": 5, "save_total_limit": 9, "lora_dropout": 0.3}
    whole = train_here(tmp_path / "whole", base, **settings)
    (tmp_path / "resumed").mkdir()
    name = f"checkpoint-{step}"
    shutil.copytree(whole.output_dir / name, tmp_path / "resumed" / name)
    resumed = train_here(tmp_path / "resumed", base, **settings)
    losses = [(record.step, record.loss) for record in resumed.steps()]
    assert losses == [(record.step, record.loss) for record in whole.steps()[step:]]
    assert resumed.weights() == whole.weights()


@pytest.mark.stack
def test_two_processes_train_and_resume_as_one_does(base: Path, tmp_path: Path) -> None:
    same: dict[str, object] = {"max_steps": 4, "save_steps": 2, "lora_dropout": 0.0}
    same |= {"finetuning_type": "lora", "lora_rank": 4, "learning_rate": 1e-2, "warmup_ratio": 0}
    one = train_here(tmp_path / "one", base, **same)
    same |= {"model_name_or_path": base, "per_device_train_batch_size": 2}
    two = run(tmp_path / "two", processes=2, **same)
    assert two.exit_code == 0, two.log
    for ours, theirs in zip(one.steps(), two.steps(), strict=True):
        assert theirs.loss == pytest.approx(ours.loss, rel=1e-5)
        assert theirs.grad_norm == pytest.approx(ours.grad_norm, rel=1e-4)
    resumed_dir = tmp_path / "resumed"
    shutil.copytree(two.output_dir / "checkpoint-2", resumed_dir / "checkpoint-2")
    resumed = run(resumed_dir, processes=2, **same)
    assert resumed.exit_code == 0, resumed.log
    assert [step.loss for step in resumed.steps()] == [step.loss for step in two.steps()[2:]]
    assert resumed.weights() == two.weights()


def test_a_checkpoint_is_a_model_to_start_from(base: Path, finished: Run, tmp_path: Path) -> None:
    checkpoint = finished.output_dir / "checkpoint-6"
    loaded = logits(load_model(checkpoint, load_tokenizer(checkpoint)))
    merged = logits(AutoModelForSeq2SeqLM.from_pretrained(finished.output_dir))
    assert torch.equal(loaded, merged)
    again = train_here(tmp_path / "again", checkpoint, max_steps=2, save_steps=1)
    record = read_record(again.output_dir / "adapter")
    assert record.base == str(checkpoint)
    assert record.new_rows == [], "its base knows all tokens"
    final = logits(AutoModelForSeq2SeqLM.from_pretrained(again.output_dir))
    chained = load_model(again.output_dir / "checkpoint-2", load_tokenizer(checkpoint))
    assert torch.equal(logits(chained), final)
    full = train_here(tmp_path / "full", again.output_dir / "checkpoint-1", max_steps=1, **FULL)
    assert weights(full.output_dir).keys() == weights(finished.output_dir).keys()


def test_bfloat16_and_recomputed_activations_train_an_adapter_too(
    base: Path, tmp_path: Path
) -> None:
    same = {"max_steps": 3, "lora_dropout": 0.0}
    plain = train_here(tmp_path / "plain", base, **same)
    recomputed = train_here(tmp_path / "recomputed", base, gradient_checkpointing=True, **same)
    for name, weight in weights(plain.output_dir).items():
        torch.testing.assert_close(weights(recomputed.output_dir)[name], weight, rtol=0, atol=1e-4)
    rounded = train_here(tmp_path / "rounded", base, bf16=True, **same)
    for ours, theirs in zip(plain.steps(), rounded.steps(), strict=True):
        assert theirs.loss == pytest.approx(ours.loss, rel=0.02)
    assert {w.dtype for w in weights(rounded.output_dir).values()} == {torch.float32}


def test_attaching_changes_nothing_and_merging_leaves_a_plain_model(base: Path) -> None:
    model = load_model(base, load_tokenizer(base))
    before, names = logits(model), model.state_dict().keys()
    attach(model, a_record(base), seed=1)
    assert torch.equal(logits(model), before)
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert all("lora_" in name or "trainable_tokens" in name for name in trained)
    for tensor in adapter_tensors(model).values():
        tensor.add_(0.01)
    changed = logits(model)
    merge(model)
    assert type(model) is type(load_model(base, load_tokenizer(base)))
    assert model.state_dict().keys() == names
    torch.testing.assert_close(logits(model), changed, rtol=1e-5, atol=1e-5)
    assert not torch.equal(changed, before)


def test_the_same_seed_gives_the_same_additions(base: Path) -> None:
    first, second, other = (additions(base, seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def additions(base: Path, *, seed: int) -> dict[str, torch.Tensor]:
    model = load_model(base, load_tokenizer(base))
    attach(model, a_record(base), seed=seed)
    return adapter_tensors(model)


def a_record(base: Path) -> AdapterRecord:
    return AdapterRecord(
        base=str(base),
        num_base_tokens=1100,
        num_tokens=1100 + NUM_NEW_TOKENS,
        rank=2,
        alpha=4,
        dropout=0.0,
        target_modules=("q", "wo"),
    )


def test_encoder_and_decoder_look_new_tokens_up_in_the_same_trained_rows(base: Path) -> None:
    model: T5ForConditionalGeneration = load_model(base, load_tokenizer(base))
    attach(model, a_record(base), seed=1)
    (rows,) = (p for name, p in model.named_parameters() if name.startswith(ROWS))
    ids = torch.tensor([[1200, 7]])
    for stack in (model.encoder, model.decoder):
        (gradient,) = torch.autograd.grad(stack.embed_tokens(ids).sum(), rows)
        assert gradient[100].eq(1).all()
        assert gradient.sum() == 32, "and no other row"


@pytest.mark.parametrize(
    ("settings", "param", "found"),
    [
        ({"lora_target_modules": "qq"}, "lora_target_modules", "found 'qq'"),
        ({"lora_rank": 0}, "lora_rank", "found 0"),
        (FULL | {"lora_rank": 8}, "finetuning_type", "lora_rank is 8, but finetuning_type is full"),
        ({"finetuning_type": "qlora"}, "finetuning_type", "qlora, which needs an NVIDIA GPU"),
    ],
)
def test_what_can_not_be_trained_is_refused_by_name(
    base: Path, tmp_path: Path, settings: dict[str, object], param: str, found: str
) -> None:
    if torch.cuda.is_available() and "GPU" in found:
        pytest.skip("this machine has one")
    with pytest.raises(TrainingError) as caught:
        train_here(tmp_path / "out", base, **settings)
    assert caught.value.code is FailureCode.BAD_CONFIG
    assert caught.value.param == param
    assert found in str(caught.value)


def test_qlora_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("flant5_train.adapters.quantization.find_spec", lambda name: None)
    with pytest.raises(TrainingError, match=r"pip install 'flant5\[qlora\]'"):
        refuse_machine_without_qlora()


def broken_adapter(finished: Run, directory: Path, how: str) -> Path:
    shutil.copytree(finished.output_dir / "checkpoint-6", directory)
    record = json.loads((directory / ADAPTER_RECORD).read_text())
    if how == "of another program":
        (directory / ADAPTER_RECORD).unlink()
    elif how == "no weights":
        (directory / ADAPTER_WEIGHTS).unlink()
    elif how == "cut":
        (directory / ADAPTER_WEIGHTS).write_bytes(b"x" * 100)
    elif how == "no base":
        (directory / ADAPTER_RECORD).write_text(json.dumps(record | {"base": "/no/such/base"}))
    elif how == "another rank":
        (directory / ADAPTER_RECORD).write_text(json.dumps(record | {"rank": 2}))
    elif how == "more modules":
        (directory / ADAPTER_RECORD).write_text(json.dumps(record | {"target_modules": ["x"]}))
    return directory


@pytest.mark.parametrize(
    ("how", "found"),
    [
        ("of another program", "found an adapter of another program in it"),
        ("no weights", "expected adapter_model.safetensors"),
        ("cut", "adapter_model.safetensors: "),
        ("no base", "model '/no/such/base' can't be loaded: there is no such directory"),
        ("another rank", "ask for the shape [2, 32]"),
        ("more modules", "flant5_adapter.json is damaged: target_modules.0: Input should be 'q'"),
    ],
)
def test_an_adapter_that_can_not_be_used_is_refused_with_what_was_found(
    finished: Run, tmp_path: Path, how: str, found: str
) -> None:
    directory = broken_adapter(finished, tmp_path / "adapter", how)
    with pytest.raises(TrainingError) as caught:
        load_model(directory, load_tokenizer(directory))
    assert caught.value.code is FailureCode.BAD_MODEL
    assert found in str(caught.value)
