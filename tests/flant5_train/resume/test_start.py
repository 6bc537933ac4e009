"""A start in a used output_dir goes on with the same run, or says by name what differs."""

import json
import shutil
from pathlib import Path
from typing import Any, TypeGuard

import pytest

from flant5_train.protocol.progress import ModelSaved, Record, TrainingStarted, WarningIssued
from flant5_train.resume.record import RUN_RECORD, read_record
from tests.flant5_train.here import run_here
from tests.flant5_train.runs import Run, run, some_examples


@pytest.fixture(scope="module")
def settings(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    data = some_examples(tmp_path_factory.mktemp("data") / "talks.json", 6)
    return {
        "model_name_or_path": tiny_model,
        "data_path": data,
        "max_steps": 8,
        "save_steps": 4,
        "save_total_limit": 9,
        "lr_scheduler_type": "linear",
    }


@pytest.fixture(scope="module")
def finished(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        whole = run_here(patch, tmp_path_factory.mktemp("finished") / "out", **settings)
    assert whole.exit_code == 0, whole.log
    return whole


@pytest.fixture
def used(finished: Run, tmp_path: Path) -> Path:
    """A copy of the finished run's output_dir."""
    return shutil.copytree(finished.output_dir, tmp_path / "used")


def interrupted(used: Path, *, step: int = 4) -> Path:
    """The directory as a run leaves it that is lost after its checkpoint of `step`."""
    for path in (used / f"checkpoint-{8}", *used.glob("*.safetensors"), used / RUN_RECORD):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert [path.name for path in used.glob("checkpoint-*")] == [f"checkpoint-{step}"]
    return used


def test_another_run_is_refused_and_nothing_is_relabelled(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], used: Path, tmp_path: Path
) -> None:
    card = (used / "README.md").read_bytes()
    weights = (used / "model.safetensors").read_bytes()
    other = some_examples(tmp_path / "other.json", 5)
    again = run_here(
        monkeypatch, used, **settings | {"data_path": other, "learning_rate": 5e-3, "seed": 3}
    )
    assert again.exit_code == 1
    assert "holds checkpoint-8 of another run: training_data was 'talks.json (" in again.log
    assert "is 'other.json (" in again.log
    assert "learning_rate was 0.001 and is 0.005, seed was 42 and is 3;" in again.log
    assert "--accept_checkpoint changed" in again.log
    assert (used / "README.md").read_bytes() == card
    assert (used / "model.safetensors").read_bytes() == weights


def test_a_finished_model_without_checkpoints_is_not_trained_over(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], used: Path
) -> None:
    for path in used.glob("checkpoint-*"):
        shutil.rmtree(path)
    again = run_here(monkeypatch, used, **settings | {"learning_rate": 5e-3})
    assert "holds the finished model of another run: learning_rate was" in again.log
    same = run_here(monkeypatch, used, **settings)
    assert same.exit_code == 0
    assert isinstance(same.records()[-1], ModelSaved)


def test_a_run_that_is_complete_trains_nothing_and_reports_its_model_again(
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    used: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = (used / "model.safetensors").stat().st_mtime_ns
    again = run_here(monkeypatch, used, **settings | {"logging_steps": 2})
    assert again.exit_code == 0, again.log
    assert "run: already complete, nothing to train" in caplog.text
    assert (used / "model.safetensors").stat().st_mtime_ns == before
    starts = [record for record in again.records() if isinstance(record, TrainingStarted)]
    assert len(starts) == 1
    models = [record for record in again.records() if isinstance(record, ModelSaved)]
    assert models[0].model_dump(exclude={"at", "path"}) == models[1].model_dump(
        exclude={"at", "path"}
    )


def test_a_final_model_that_is_gone_is_written_again_from_the_last_checkpoint(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], used: Path, finished: Run
) -> None:
    (used / "model.safetensors").unlink()
    again = run_here(monkeypatch, used, **settings)
    assert again.exit_code == 0, again.log
    assert again.weights() == finished.weights()


def test_an_interrupted_run_goes_on_and_new_intervals_take_effect(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], used: Path, finished: Run
) -> None:
    again = run_here(
        monkeypatch, interrupted(used), **settings | {"save_steps": 3, "logging_steps": 2}
    )
    assert again.exit_code == 0, again.log
    assert again.weights() == finished.weights()
    assert {path.name for path in used.glob("checkpoint-*")} == {
        "checkpoint-4",
        "checkpoint-6",
        "checkpoint-8",
    }


def test_a_checkpoint_without_a_record_is_gone_on_with_where_that_is_accepted(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], used: Path, finished: Run
) -> None:
    (interrupted(used) / "checkpoint-4" / RUN_RECORD).unlink()
    refused = run_here(monkeypatch, used, **settings)
    assert "holds checkpoint-4 without a record of its run" in refused.log
    again = run_here(monkeypatch, used, **settings, accept_checkpoint="unrecorded")
    assert again.exit_code == 0, again.log
    assert again.weights() == finished.weights()


def of_another_version(directory: Path, *names: str) -> None:
    """Gives the record other values for `names`, as an older version would have."""
    path = directory / RUN_RECORD
    found = json.loads(path.read_text())
    found["identity"] |= dict.fromkeys(names, "older")
    path.write_text(json.dumps(found))


@pytest.mark.parametrize("names", [("encoding",), ("batch_plan",), ("encoding", "batch_plan")])
def test_a_job_survives_an_upgrade_that_encodes_or_plans_otherwise(
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    used: Path,
    finished: Run,
    names: tuple[str, ...],
) -> None:
    of_another_version(interrupted(used) / "checkpoint-4", *names)
    refused = run_here(monkeypatch, used, **settings)
    assert f"holds checkpoint-4 of another run: {names[0]} was 'older'" in refused.log
    job = settings | {"accept_checkpoint": "unrecorded"}
    changed = run_here(monkeypatch, used, **job | {"weight_decay": 0.5})
    assert "weight_decay was 0.0 and is 0.5" in changed.log
    again = run_here(monkeypatch, used, **job)
    assert again.exit_code == 0, again.log
    assert again.weights() == finished.weights()
    (line,) = [each.message for each in again.records() if is_about_output_dir(each)]
    assert line.startswith("From step 4 on another version of flant5 ran the same settings: ")
    assert f"{names[0]} was 'older' and is" in line


def is_about_output_dir(record: Record) -> TypeGuard[WarningIssued]:
    return isinstance(record, WarningIssued) and record.param == "output_dir"


def test_a_model_that_an_older_version_finished_is_complete_after_an_upgrade(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], used: Path
) -> None:
    for directory in (used, *used.glob("checkpoint-*")):
        of_another_version(directory, "encoding", "batch_plan")
    before = (used / "model.safetensors").stat().st_mtime_ns
    job = settings | {"accept_checkpoint": "unrecorded"}
    assert run_here(monkeypatch, used, **job).exit_code == 0
    for path in used.glob("checkpoint-*"):
        shutil.rmtree(path)
    again = run_here(monkeypatch, used, **job)
    assert again.exit_code == 0, again.log
    assert (used / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize("accepts", ["same", "unrecorded", "changed"])
@pytest.mark.parametrize("is_recorded", [True, False])
def test_no_setting_trains_over_a_finished_model_without_checkpoints(
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    used: Path,
    *,
    accepts: str,
    is_recorded: bool,
) -> None:
    for path in used.glob("checkpoint-*"):
        shutil.rmtree(path)
    if not is_recorded:
        (used / RUN_RECORD).unlink()
    weights = (used / "model.safetensors").read_bytes()
    other = settings | {"learning_rate": 5e-3, "accept_checkpoint": accepts}
    again = run_here(monkeypatch, used, **other)
    assert again.exit_code == 1
    assert "there is no checkpoint to resume; expected another output_dir" in again.log
    assert "as model_name_or_path to start from that model" in again.log
    assert (used / "model.safetensors").read_bytes() == weights


def test_a_damaged_record_of_the_final_model_is_written_again_from_a_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    used: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (used / RUN_RECORD).write_text("")
    again = run_here(monkeypatch, used, **settings)
    assert again.exit_code == 0, again.log
    assert "writing the final model again, its record is damaged" in caplog.text
    record = read_record(used)
    assert record is not None
    assert record.finished is not None


def test_only_the_first_start_issues_the_warnings_of_a_run(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], used: Path, finished: Run
) -> None:
    first = [each for each in finished.records() if isinstance(each, WarningIssued)]
    assert first
    again = run_here(monkeypatch, interrupted(used), **settings)
    assert [each for each in again.records() if isinstance(each, WarningIssued)] == first


def test_changes_are_gone_on_with_where_that_is_accepted_and_recorded(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], used: Path
) -> None:
    changed = settings | {"learning_rate": 8e-3, "accept_checkpoint": "changed"}
    again = run_here(monkeypatch, interrupted(used), **changed)
    assert again.exit_code == 0, again.log
    rates = {step.step: step.learning_rate for step in again.steps()}
    # Linear to 0 over 8 steps, from the new peak.
    assert [rates[step] for step in (5, 6, 7, 8)] == pytest.approx([4e-3, 3e-3, 2e-3, 1e-3])
    line = (
        "From step 4 on the run continued with other values: learning_rate was 0.001 and is 0.008."
    )
    assert line in [each.message for each in again.records() if isinstance(each, WarningIssued)]
    assert line in (used / "README.md").read_text().replace("\\", "")
    record = read_record(used)
    assert record is not None
    assert [change.step for change in record.changes] == [4]
    assert record.finished is not None
    for path in (used / "model.safetensors", used / RUN_RECORD):
        path.unlink()
    last = run_here(monkeypatch, used, **changed)
    assert last.exit_code == 0, "the same run from now on"
    assert len([each for each in last.records() if is_about_output_dir(each)]) == 1


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("optim", "adafactor", "optim was 'adamw_torch_fused' and is 'adafactor'"),
        ("finetuning_type", "lora", "finetuning_type was 'full' and is 'lora'"),
        ("tokenization", "fastchat", "tokenization was 'lossless' and is 'fastchat'"),
        ("weight_decay", 0.5, "nothing is left to train"),
    ],
)
def test_a_change_that_could_have_no_effect_is_refused_in_any_case(
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    used: Path,
    name: str,
    value: object,
    found: str,
) -> None:
    again = run_here(monkeypatch, used, **settings | {name: value, "accept_checkpoint": "changed"})
    assert again.exit_code == 1
    assert found in again.log


@pytest.mark.parametrize("value", ["/nowhere", "checkpoint-4", "True"])
def test_a_checkpoint_to_resume_from_that_is_not_the_newest_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], tmp_path: Path, value: str
) -> None:
    again = run_here(monkeypatch, tmp_path / "new", **settings, resume_from_checkpoint=value)
    assert f"resume_from_checkpoint is '{value}', but a run always resumes the newest" in again.log
    assert "which has no complete checkpoint" in again.log


def test_the_newest_checkpoint_may_be_asked_for(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], used: Path, finished: Run
) -> None:
    newest = interrupted(used) / "checkpoint-4"
    again = run_here(monkeypatch, used, **settings, resume_from_checkpoint=newest)
    assert again.exit_code == 0, again.log
    assert again.weights() == finished.weights()


@pytest.mark.stack
def test_another_number_of_processes_is_refused(settings: dict[str, Any], used: Path) -> None:
    again = run(used, processes=2, **settings)
    assert again.exit_code != 0
    failure = again.failure()
    assert failure is not None, again.log
    assert "num_processes was 1 and is 2" in failure.message
