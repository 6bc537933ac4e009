import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from flant5_train.conversations import ConversationFile
from flant5_train.failure import FailureCode, TrainingError
from flant5_train.progress import (
    CheckpointSaved,
    DataRead,
    Evaluated,
    ModelSaved,
    PhaseChange,
    StepTrained,
    Stopped,
    TrainingStarted,
    read_records,
)
from flant5_train.prompt import _form_qa
from flant5_train.training import parse_run
from tests.flant5_train.runs import Run, command, environment, run, some_examples


def wait_until(condition: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


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


@pytest.mark.parametrize(
    ("processes", "batching", "steps"),
    [
        (1, "padded", (5, 15, 24)),
        (2, "packed", (15,)),
        pytest.param(2, "padded", (5, 15, 24), marks=pytest.mark.stack),
        pytest.param(1, "bucketed", (15,), marks=pytest.mark.stack),
        pytest.param(2, "bucketed", (15,), marks=pytest.mark.stack),
        pytest.param(1, "packed", (15,), marks=pytest.mark.stack),
    ],
)
def test_a_resumed_run_ends_bit_identical_to_an_uninterrupted_one(
    tiny_model: Path, tmp_path: Path, processes: int, batching: str, steps: tuple[int, ...]
) -> None:
    data = some_examples(tmp_path / "talks.json", 30)
    settings = {
        "model_name_or_path": tiny_model,
        "data_path": data,
        "max_steps": 24,
        "save_steps": 5,
        "per_device_train_batch_size": 4 // processes,
        "save_total_limit": 9,
        "batching": batching,
    }
    whole = run(tmp_path / "whole", processes=processes, **settings)
    assert whole.exit_code == 0, whole.log
    epochs = [step.epoch for step in whole.steps()]
    assert epochs[4] < 1 < epochs[14] < 2, "step 5 lies in the first epoch, 15 in the second"
    for step in steps:
        resumed_dir = tmp_path / f"from {step}"
        shutil.copytree(whole.output_dir / f"checkpoint-{step}", resumed_dir / f"checkpoint-{step}")
        # What a killed process leaves behind: a later checkpoint without its marker.
        (resumed_dir / f"checkpoint-{step + 1}").mkdir()
        resumed = run(resumed_dir, processes=processes, **settings)
        assert resumed.exit_code == 0, resumed.log
        losses = [(record.step, record.loss) for record in resumed.steps()]
        assert losses == [(record.step, record.loss) for record in whole.steps()[step:]]
        assert resumed.weights() == whole.weights()
        ends = [each.records()[-1].model_dump(exclude={"at", "path"}) for each in (resumed, whole)]
        assert ends[0] == ends[1]


def test_sigterm_saves_and_the_next_run_goes_on_from_there(
    tiny_model: Path, tmp_path: Path
) -> None:
    settings = {"model_name_or_path": tiny_model, "max_steps": 400, "logging_steps": 1}
    output_dir = tmp_path / "out"
    progress = output_dir / "progress.jsonl"
    process = subprocess.Popen(
        command(output_dir, processes=2, **settings),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: progress.exists() and b'"step":3' in progress.read_bytes())
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    *_, stopped = read_records(progress)
    assert isinstance(stopped, Stopped)
    assert 3 <= stopped.step < 400
    assert stopped.path == str(output_dir / f"checkpoint-{stopped.step}")
    finished = run(output_dir, processes=2, **settings | {"max_steps": stopped.step + 2})
    starts = [record for record in finished.records() if isinstance(record, TrainingStarted)]
    assert [start.step for start in starts] == [0, stopped.step]
    assert isinstance(finished.records()[-1], ModelSaved)


def test_no_process_outlives_a_killed_launcher(tiny_model: Path, tmp_path: Path) -> None:
    progress = tmp_path / "progress.jsonl"
    process = subprocess.Popen(
        command(tmp_path, processes=2, model_name_or_path=tiny_model, max_steps=10_000),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: progress.exists() and b'"step":2' in progress.read_bytes())
    children = f"/proc/{process.pid}/task/{process.pid}/children"
    ranks = [int(pid) for pid in Path(children).read_text().split()]
    assert len(ranks) == 2
    process.kill()
    process.wait()
    wait_until(lambda: not any(is_running(pid) for pid in ranks), seconds=2)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


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


def failed(tmp_path: Path, model: Path, **settings: Any) -> Run:
    finished = run(tmp_path / "out", model_name_or_path=model, **{"max_steps": 6, **settings})
    assert finished.exit_code != 0
    assert finished.failure() is not None, finished.log
    return finished


def test_a_loss_that_is_no_number_ends_the_run(tiny_model: Path, tmp_path: Path) -> None:
    finished = failed(tmp_path, tiny_model, learning_rate=1e30, save_steps=1)
    failure = finished.failure()
    assert failure is not None
    assert failure.code is FailureCode.NAN_LOSS
    assert "expected a finite number" in failure.message
    for checkpoint in finished.output_dir.glob("checkpoint-*/COMPLETE"):
        model = AutoModelForSeq2SeqLM.from_pretrained(checkpoint.parent)
        assert all(weight.isfinite().all() for weight in model.parameters())


def test_float16_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    failure = failed(tmp_path, tiny_model, fp16=True).failure()
    assert failure is not None
    assert failure.code is FailureCode.BAD_CONFIG
    assert "T5 overflows in float16" in failure.message


@pytest.mark.parametrize(
    "flag", [("--train_sampling_strategy", "group_by_length"), ("--dataloader_drop_last", "True")]
)
def test_another_order_of_the_pairs_is_refused(tmp_path: Path, flag: tuple[str, str]) -> None:
    argv = ["--data_path", str(tmp_path), "--output_dir", str(tmp_path), *flag]
    with pytest.raises(TrainingError, match="expected `batching`: padded, bucketed or packed"):
        parse_run(argv)


def test_blocks_are_compiled_for_rows_of_one_length_on_a_gpu_only(tmp_path: Path) -> None:
    argv = ["--data_path", str(tmp_path), "--output_dir", str(tmp_path), "--torch_compile", "True"]
    with pytest.raises(TrainingError, match="expected batching=packed on a GPU") as caught:
        parse_run([*argv, "--batching", "bucketed"])
    assert caught.value.param == "torch_compile"


def test_an_unknown_argument_is_named(tiny_model: Path, tmp_path: Path) -> None:
    failure = failed(tmp_path, tiny_model, learning_rat=1).failure()
    assert failure is not None
    assert failure.code is FailureCode.BAD_CONFIG
    assert "learning_rat" in failure.message


def test_a_bad_record_is_named_whichever_process_finds_it(tiny_model: Path, tmp_path: Path) -> None:
    data = tmp_path / "bad.json"
    data.write_text('[{"conversations": [{"from": "alien", "value": "x"}]}]')
    failure = failed(tmp_path, tiny_model, processes=2, data_path=data).failure()
    assert failure is not None
    assert failure.code is FailureCode.BAD_DATA
    assert "bad.json: record 1 (line 1): field 'conversations[0].from'" in failure.message


def test_two_processes_build_one_demo_model(tmp_path: Path) -> None:
    data = some_examples(tmp_path / "talks.json", 8)
    settings: dict[str, Any] = {"model_name_or_path": "flant5-demo", "max_steps": 1}
    settings["data_path"] = data
    finished = run(tmp_path / "out", processes=2, **settings)
    assert finished.exit_code == 0, finished.log
    (built,) = (tmp_path / "out" / "models").glob("flant5-demo-*[!k]")
    assert built.is_dir()


def test_the_demo_model_learns_twenty_answers_by_heart(tmp_path: Path) -> None:
    data = some_examples(tmp_path / "talks.json", 20)
    finished = run(
        tmp_path / "out",
        model_name_or_path="flant5-demo",
        data_path=data,
        num_train_epochs=80,
        per_device_train_batch_size=10,
        learning_rate=3e-3,
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
