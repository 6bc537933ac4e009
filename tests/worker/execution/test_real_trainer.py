"""What the real trainer's guards and evaluations say, as the caller of a job reads it."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.flant5_train.runs import some_examples
from tests.small_disk import small_disk
from tests.worker.scenes import queued_job
from tests.worker.workshop import Workshop, open_workshop
from worker.jobs.job import Status

PROGRAM = "trains_for_real.py"


def test_a_guard_of_the_trainer_is_the_jobs_error(redis_url: SecretStr, tmp_path: Path) -> None:
    workshop = open_workshop(redis_url, tmp_path)
    some_examples(workshop.data, 8)
    with small_disk(workshop.settings.home / "jobs", num_bytes=1 << 20):
        job = workshop.run(workshop.new_job().id, PROGRAM)
    assert job.status is Status.FAILED
    assert job.error is not None
    assert job.error.code == "disk_full"
    assert "too full for the first checkpoint and the final model: " in job.error.message


@pytest.mark.stack
def test_answers_an_early_end_and_the_best_model_are_events(workshop: Workshop) -> None:
    some_examples(workshop.data, 8)
    told = {
        "max_steps": 30,
        "eval_steps": 1,
        "per_device_train_batch_size": 2,
        "model_max_length": 64,
        "validation_split": 0.3,
        "eval_generation_samples": 4,
        "load_best_model_at_end": True,
        "early_stopping_patience": 2,
        "early_stopping_threshold": 100,  # nothing after the first evaluation is a gain
    }
    job = queued_job(workshop.store, training_file="data.json", hyperparameters=told)
    job = workshop.run(job.id, PROGRAM)
    assert job.status is Status.SUCCEEDED, job.error
    assert job.progress is not None
    assert job.progress.step == 3
    messages = workshop.messages(job.id)
    assert any(message.startswith("Stopped early at step 3: ") for message in messages)
    assert any(" as the model: " in message for message in messages)
    events = workshop.history.events_since(job.id).items
    answers = next(event for event in events if event.message.endswith(" sample answers recorded"))
    assert answers.message.startswith("Step 1: ")
    assert answers.type == "message"
    shown = answers.data["answers"]
    assert isinstance(shown, list)
    assert isinstance(shown[0], dict)
    assert shown[0].keys() == {"question", "expected", "given"}
    evaluated = next(event for event in events if "eval_perplexity" in event.data)
    assert evaluated.type == "metrics"
    (checkpoint, *_) = workshop.history.checkpoints(job.id).items
    assert {"eval_loss", "eval_perplexity", "eval_rouge_l"} <= checkpoint.metrics.keys()
