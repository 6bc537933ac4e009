import pytest

from tests.worker.scenes import claim_again, claimed_job
from worker.jobs.job import Chosen, JobProgressState
from worker.jobs.store.history import JobHistory
from worker.jobs.store.serialization import (
    InfraFailure,
    NewCheckpoint,
    NewEvent,
    NewLogLine,
    OffsetRange,
    Offsets,
    OffsetsMovedError,
    Update,
)
from worker.jobs.store.store import JobStore


def test_an_update_is_stored_with_all_its_parts(store: JobStore, history: JobHistory) -> None:
    claim = claimed_job(store)
    progress = JobProgressState(step=3, max_steps=9, percent=33.33, loss=2.5, tokens_per_second=1e6)
    update = Update(
        events=(
            NewEvent("Step 3", type="metrics", data={"loss": 1 / 3, "big": 2**53 - 1}, at=1.25),
        ),
        log_lines=(NewLogLine("größe \t 1", stream="stderr", at=2.5), NewLogLine("next")),
        checkpoints=(NewCheckpoint(step=3, path="output/checkpoint-3", metrics={"loss": 0.1}),),
        phase="training",
        progress=progress,
        trained_tokens=12_345_678_901,
        chosen=Chosen(num_train_epochs=20, learning_rate=0.002),
    )
    assert store.leases.record(claim, update)
    job = store.get(claim.job.id)
    assert (job.phase, job.progress, job.trained_tokens) == ("training", progress, 12_345_678_901)
    assert job.spec.hyperparameters.num_train_epochs is None
    tuned = job.hyperparameters
    assert (tuned.num_train_epochs, tuned.learning_rate) == (20, 0.002)
    event = history.events(job.id, limit=1).items[0]
    assert event.data == {"loss": 1 / 3, "big": 2**53 - 1}
    assert (event.type, event.message, event.created_at) == ("metrics", "Step 3", 1.25)
    first, second = history.logs(job.id).items
    assert (first.seq, first.stream, first.line, first.created_at) == (
        1,
        "stderr",
        "größe \t 1",
        2.5,
    )
    assert (second.seq, second.stream, second.line) == (2, "stdout", "next")
    (checkpoint,) = history.checkpoints(job.id).items
    assert (checkpoint.step, checkpoint.path) == (3, "output/checkpoint-3")
    assert checkpoint.metrics == {"loss": 0.1}


def test_what_an_update_leaves_out_stays_as_it_is(store: JobStore) -> None:
    claim = claimed_job(store)
    store.leases.record(claim, Update(phase="training", trained_tokens=5))
    store.leases.record(claim, Update(events=(NewEvent("x"),)))
    job = store.get(claim.job.id)
    assert (job.phase, job.trained_tokens) == ("training", 5)


def test_the_same_part_of_the_files_is_stored_once(store: JobStore, history: JobHistory) -> None:
    claim = claimed_job(store)
    offset_range = OffsetRange(start=Offsets(), end=Offsets(progress=100, log=20))
    update = Update(
        events=(NewEvent("x"),), log_lines=(NewLogLine("y"),), offset_range=offset_range
    )
    assert store.leases.record(claim, update)
    assert store.leases.record(claim, update)
    assert [event.message for event in history.events(claim.job.id).items].count("x") == 1
    assert len(history.logs(claim.job.id).items) == 1


def test_an_update_that_begins_elsewhere_is_refused(store: JobStore, history: JobHistory) -> None:
    claim = claimed_job(store)
    offset_range = OffsetRange(start=Offsets(progress=50), end=Offsets(progress=100))
    with pytest.raises(OffsetsMovedError) as caught:
        store.leases.record(claim, Update(events=(NewEvent("x"),), offset_range=offset_range))
    assert caught.value.stored == Offsets()
    assert "x" not in {event.message for event in history.events(claim.job.id).items}


def test_the_next_attempt_is_told_how_far_the_files_are_read(store: JobStore) -> None:
    claim = claimed_job(store)
    end = Offsets(progress=1_234_567_890_123, log=42)
    store.leases.record(claim, Update(offset_range=OffsetRange(start=Offsets(), end=end)))
    store.leases.release(claim, reason="x", infra_failure=InfraFailure("worker_lost"))
    assert claim_again(store, claim.job.id).offsets == end


def test_a_step_that_was_saved_again_is_listed_once(store: JobStore, history: JobHistory) -> None:
    claim = claimed_job(store)
    for step, loss in ((10, 1.0), (20, 2.0), (10, 3.0)):
        checkpoint = NewCheckpoint(step=step, path=f"c-{step}", metrics={"loss": loss})
        store.leases.record(claim, Update(checkpoints=(checkpoint,)))
    listed = history.checkpoints(claim.job.id).items
    assert [(item.step, item.metrics["loss"]) for item in listed] == [(10, 3.0), (20, 2.0)]
