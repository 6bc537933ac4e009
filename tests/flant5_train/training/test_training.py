"""Runs of the trainer, and the models they leave."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from flant5_train.data.conversations import ConversationFile
from flant5_train.data.prompt import _form_qa
from flant5_train.protocol.progress import (
    CheckpointSaved,
    DataRead,
    Evaluated,
    ModelSaved,
    PhaseChange,
    StepTrained,
)
from tests.flant5_train.runs import run, some_examples


def test_loss_and_gradient_do_not_depend_on_processes_and_accumulation(
    tiny_model: Path, tmp_path: Path
) -> None:
    # Random pairs, so that a step holds the same ones however it is split.
    same: dict[str, Any] = {"model_name_or_path": tiny_model, "max_steps": 4, "batching": "padded"}
    same |= {"validation_split": 0.1, "eval_steps": 2, "eval_generation_samples": 5}
    one = run(tmp_path / "one", per_device_train_batch_size=16, **same)
    two = run(
        tmp_path / "two",
        processes=2,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=4,
        **same,
    )
    assert len(one.steps()) == len(two.steps()) == 4, one.log + two.log
    totals = set()
    for ours, theirs in zip(one.steps(), two.steps(), strict=True):
        assert theirs.loss == pytest.approx(ours.loss, rel=1e-5)
        assert theirs.grad_norm == pytest.approx(ours.grad_norm, rel=1e-4)
        assert theirs.tokens_seen == ours.tokens_seen
    for finished in (one, two):
        state = json.loads((finished.output_dir / "trainer_state.json").read_text())
        logged = [entry["flops"] for entry in state["log_history"] if "flops" in entry]
        assert state["total_flos"] == sum(logged) > 0
        totals.add(state["total_flos"])
    assert len(totals) == 1
    evaluations = [
        [record for record in finished.records() if isinstance(record, Evaluated)]
        for finished in (one, two)
    ]
    assert [record.step for record in evaluations[0]] == [2, 4]
    for first, second in zip(*evaluations, strict=True):
        assert second.eval_loss == pytest.approx(first.eval_loss, rel=1e-5)
        assert second.eval_tokens == first.eval_tokens
        assert second.eval_exact_match == first.eval_exact_match
        assert second.eval_rouge_l == pytest.approx(first.eval_rouge_l, rel=1e-9)


def test_a_run_reports_what_it_does_and_leaves_a_model(tiny_model: Path, tmp_path: Path) -> None:
    finished = run(
        tmp_path,
        model_name_or_path=tiny_model,
        max_steps=6,
        save_steps=2,
        save_total_limit=2,
        bf16=True,
        gradient_checkpointing=True,
    )
    assert finished.exit_code == 0, finished.log
    records = finished.records()
    phases = [record.phase for record in records if isinstance(record, PhaseChange)]
    assert phases[:4] == ["preprocessing", "loading_model", "training", "saving"]
    assert [r.step for r in records if isinstance(r, StepTrained)] == [1, 2, 3, 4, 5, 6]
    assert [r.step for r in records if isinstance(r, CheckpointSaved)] == [2, 4, 6]
    assert sum(isinstance(record, DataRead) for record in records) == 1
    assert isinstance(records[-1], ModelSaved)
    left = sorted(path.name for path in tmp_path.glob("checkpoint-*"))
    assert left == ["checkpoint-4", "checkpoint-6"]
    assert (tmp_path / "trainer_state.json").exists()
    assert "| steps | 6 |" in (tmp_path / "README.md").read_text()
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    for directory in (tmp_path, tmp_path / "checkpoint-6"):
        assert AutoModelForSeq2SeqLM.from_pretrained(directory).dtype == torch.float32
        text = "def f(x):\n\treturn {x}  # ok"
        tokenizer = AutoTokenizer.from_pretrained(directory)
        assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def test_two_processes_build_one_demo_model(tmp_path: Path) -> None:
    data = some_examples(tmp_path / "talks.json", 8)
    settings: dict[str, Any] = {"model_name_or_path": "flant5-demo", "max_steps": 1}
    settings["data_path"] = data
    finished = run(tmp_path / "out", processes=2, **settings)
    assert finished.exit_code == 0, finished.log
    (built,) = (tmp_path / "out" / "models").glob("flant5-demo-*[!k]")
    assert built.is_dir()


@pytest.mark.stack
def test_the_demo_model_learns_twenty_answers_by_heart(tmp_path: Path) -> None:
    data = some_examples(tmp_path / "talks.json", 20)
    finished = run(
        tmp_path / "out",
        model_name_or_path="flant5-demo",
        data_path=data,
        # More steps of fewer pairs than it takes: processors round differently.
        num_train_epochs=60,
        per_device_train_batch_size=4,
        learning_rate=2e-3,
        lr_scheduler_type="cosine",
        warmup_ratio=0.1,
        model_max_length=512,
    )
    assert finished.exit_code == 0, finished.log
    model = AutoModelForSeq2SeqLM.from_pretrained(finished.output_dir).eval()
    tokenizer = AutoTokenizer.from_pretrained(finished.output_dir)
    sources = [
        [{"from": str(turn.role), "value": turn.text} for turn in talk.turns]
        for talk in ConversationFile(data)
    ]
    pairs = _form_qa(sources)
    for pair in pairs:
        ids = model.generate(**tokenizer(pair.question, return_tensors="pt"))
        assert tokenizer.decode(ids[0], skip_special_tokens=True) == pair.answer
    assert answer_of_the_readme(finished.output_dir, sources[0][0]["value"]) == pairs[0].answer


def answer_of_the_readme(output_dir: Path, question: str) -> str:
    """What the program in the model's README.md prints, asked this question."""
    text = (output_dir / "README.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    asked = "'### Human: What is the capital of France?\\n'"
    assert program.count(asked) == 1
    program = program.replace(asked, repr(f"### Human: {question}\n"))
    argv = [sys.executable, "-c", program]
    done = subprocess.run(argv, cwd=output_dir, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.removesuffix("\n")
