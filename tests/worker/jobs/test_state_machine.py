"""The store against a plain model of itself, in random order, on a real server."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from tests.worker.scenes import spec
from worker.jobs import keys
from worker.jobs.errors import InvalidRequestError
from worker.jobs.history import JobHistory
from worker.jobs.job import JobError
from worker.jobs.life import Status
from worker.jobs.store import JobStore
from worker.jobs.update import (
    Beat,
    Cancelled,
    Claim,
    Failed,
    Move,
    NewCheckpoint,
    NewEvent,
    Offsets,
    OffsetsMovedError,
    Outcome,
    Succeeded,
    Update,
)

MAX_LOSSES = 2
OUTCOMES: dict[Status, Outcome] = {
    Status.SUCCEEDED: Succeeded("ft:x"),
    Status.FAILED: Failed(JobError(code="x", message="y")),
    Status.CANCELLED: Cancelled(),
}


@dataclass(frozen=True)
class Model:
    """What must be true of one job."""

    status: Status = Status.VALIDATING_FILES
    epoch: int = 0
    attempt: int = 0
    losses: int = 0
    is_cancelling: bool = False
    offset: int = 0
    num_lines: int = 0

    def given_back(self, *, lost: bool) -> "Model":
        shut_out = replace(self, epoch=self.epoch + 1)
        if self.is_cancelling:
            return replace(shut_out, status=Status.CANCELLED)
        if not lost:
            return replace(shut_out, status=Status.QUEUED, attempt=self.attempt - 1)
        status = Status.FAILED if self.losses + 1 >= MAX_LOSSES else Status.QUEUED
        return replace(shut_out, status=status, losses=self.losses + 1)


class StoreMachine(RuleBasedStateMachine):
    redis: Redis
    """Set by the test."""

    jobs: Bundle[str] = Bundle("jobs")
    claims: Bundle[Claim] = Bundle("claims")

    @initialize()
    def begin(self) -> None:
        self.redis.flushall()
        self.store = JobStore(self.redis, max_losses=MAX_LOSSES)
        self.history = JobHistory(self.redis)
        self.models: dict[str, Model] = {}

    def holds(self, claim: Claim) -> bool:
        model = self.models[claim.job.id]
        return model.status is Status.RUNNING and model.epoch == claim.epoch

    @rule(target=jobs, key=st.integers(0, 2))
    def create(self, key: int) -> str:
        job = self.store.create(spec(), submission_key=str(key))
        self.models.setdefault(job.id, Model())
        return job.id

    @rule(job=jobs, is_good=st.booleans())
    def validate(self, job: str, is_good: bool) -> None:
        model = self.models[job]
        answer = (
            self.store.accept(job)
            if is_good
            else self.store.reject(job, JobError(code="bad_data", message="m"))
        )
        assert answer is (model.status is Status.VALIDATING_FILES)
        if answer:
            status = Status.QUEUED if is_good else Status.FAILED
            self.models[job] = replace(model, status=status)

    @rule(target=claims, job=jobs)
    def claim(self, job: str) -> MultipleResults[Claim] | Claim:
        model = self.models[job]
        claim = self.store.leases.claim(job, worker="w", lease_seconds=600)
        assert (claim is not None) is (model.status is Status.QUEUED)
        if claim is None:
            return multiple()
        self.models[job] = replace(
            model, status=Status.RUNNING, epoch=model.epoch + 1, attempt=model.attempt + 1
        )
        assert claim.offsets.progress == model.offset
        return claim

    @rule(claim=claims)
    def beat(self, claim: Claim) -> None:
        going_on = Beat.CANCEL if self.models[claim.job.id].is_cancelling else Beat.GO_ON
        expected = going_on if self.holds(claim) else Beat.LOST
        assert self.store.leases.beat(claim, 600) is expected

    @rule(claim=claims, start=st.integers(0, 3), length=st.integers(1, 2), saves=st.booleans())
    def record(self, claim: Claim, start: int, length: int, saves: bool) -> None:
        model = self.models[claim.job.id]
        end = start + length
        update = Update(
            events=tuple(NewEvent(f"line {number}") for number in range(start, end)),
            checkpoints=(NewCheckpoint(start, "c", {}),) if saves else (),
            move=Move(Offsets(progress=start), Offsets(progress=end)),
        )
        try:
            recorded = self.store.leases.record(claim, update)
        except OffsetsMovedError as error:
            self.check_refusal(claim, error.stored, refused=(start, end))
            return
        assert recorded is self.holds(claim)
        if recorded and model.offset == start:
            losses = 0 if saves else model.losses
            self.models[claim.job.id] = replace(
                model, offset=end, num_lines=model.num_lines + length, losses=losses
            )

    def check_refusal(self, claim: Claim, stored: Offsets, *, refused: tuple[int, int]) -> None:
        assert self.holds(claim)
        assert stored.progress == self.models[claim.job.id].offset
        assert stored.progress not in refused

    @rule(claim=claims, status=st.sampled_from(sorted(OUTCOMES)))
    def finish(self, claim: Claim, status: Status) -> None:
        model = self.models[claim.job.id]
        holds = self.holds(claim)
        is_told_again = model.epoch == claim.epoch and model.status is status
        assert self.store.leases.finish(claim, OUTCOMES[status]) is (holds or is_told_again)
        if holds:
            self.models[claim.job.id] = replace(model, status=status)

    @rule(claim=consumes(claims), lost=st.booleans())
    def release(self, claim: Claim, lost: bool) -> None:
        model = self.models[claim.job.id]
        if self.holds(claim):
            model = self.models[claim.job.id] = model.given_back(lost=lost)
        assert self.store.leases.release(claim, reason="x", lost=lost) is model.status

    @rule(job=jobs)
    def lease_runs_out(self, job: str) -> None:
        self.redis.zadd(keys.RUNNING, {job: 1}, xx=True)
        model = self.models[job]
        is_running = model.status is Status.RUNNING
        assert self.store.leases.reap(10) == ((job,) if is_running else ())
        if is_running:
            self.models[job] = model.given_back(lost=True)

    @rule(job=jobs)
    def cancel(self, job: str) -> None:
        model = self.models[job]
        if model.status.is_final:
            with pytest.raises(InvalidRequestError):
                self.store.cancel(job)
            return
        self.store.cancel(job)
        is_running = model.status is Status.RUNNING
        self.models[job] = replace(
            model,
            is_cancelling=True,
            status=Status.RUNNING if is_running else Status.CANCELLED,
        )

    @invariant()
    def the_store_agrees_with_the_model(self) -> None:
        for job_id, model in getattr(self, "models", {}).items():
            job = self.store.get(job_id)
            assert (job.status, job.epoch, job.attempt, job.cancel_requested) == (
                model.status,
                model.epoch,
                model.attempt,
                model.is_cancelling,
            )
            events = self.history.events_since(job_id).items
            assert [event.seq for event in events] == list(range(1, len(events) + 1))
            lines = [event.message for event in events if event.message.startswith("line")]
            assert lines == [f"line {number}" for number in range(model.num_lines)]
            for status, key in (
                (Status.VALIDATING_FILES, keys.VALIDATING),
                (Status.QUEUED, keys.QUEUED),
                (Status.RUNNING, keys.RUNNING),
            ):
                is_listed = self.redis.zscore(key, job_id) is not None
                assert is_listed is (model.status is status)


def test_the_store_behaves_like_its_model(redis: Redis) -> None:
    StoreMachine.redis = redis
    run_state_machine_as_test(
        StoreMachine,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
