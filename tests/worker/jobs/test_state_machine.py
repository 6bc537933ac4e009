"""The store against a plain model of itself, in random order, on a real server."""

import os
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, TypeVar, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from tests.worker.jobs.store_model import (
    BEATS,
    LOSSES,
    OUTCOMES,
    OWNERS,
    RESUMABLE,
    RULES,
    SIZES,
    WAITING,
    Model,
)
from tests.worker.scenes import spec
from worker.jobs.errors import InvalidRequestError, LimitReachedError
from worker.jobs.job import ALLOWED_TRANSITIONS, JobError, Status
from worker.jobs.storage.paths import Home
from worker.jobs.store import keys
from worker.jobs.store.history import JobHistory
from worker.jobs.store.serialization import (
    Claim,
    HeartbeatDirective,
    InfraFailure,
    NewCheckpoint,
    NewEvent,
    OffsetRange,
    Offsets,
    OffsetsMovedError,
    Update,
)
from worker.jobs.store.store import JobStore

Item = TypeVar("Item")


NUM_EXAMPLES = int(os.environ.get("FLANT5_TEST_EXAMPLES", "40"))
"""1,500 check more than 50,000 transitions."""
MAX_ROUNDS = 12
"""Rounds of so many examples in which each step of a job's life must be made."""


PICKS = st.integers(0, 2**16)


def has_jobs(machine: "StoreMachine") -> bool:
    return bool(machine.models)


def has_claims(machine: "StoreMachine") -> bool:
    return bool(machine.claims)


class StoreMachine(RuleBasedStateMachine):
    redis: Redis
    """Set by the test."""
    steps: ClassVar[Counter[tuple[Status, Status]]] = Counter()
    num_steps: ClassVar[int] = 0

    @initialize()
    def begin(self) -> None:
        self.redis.flushall()
        self.store = JobStore(self.redis, RULES)
        self.leases = self.store.leases
        self.history = JobHistory(self.redis, Home(Path("nowhere")))
        self.models: dict[str, Model] = {}
        self.claims: list[Claim] = []
        self.keys: dict[int, str] = {}
        self.epochs: dict[tuple[str, int], int] = {}

    def epoch_of(self, job_id: str) -> int:
        """The model counts epochs, the store's are instants: each above the one before it."""
        count = self.models[job_id].epoch
        epoch = self.epochs.setdefault((job_id, count), self.store.get(job_id).epoch)
        assert epoch > self.epochs.get((job_id, count - 1), -1)
        return epoch

    def holds(self, claim: Claim) -> bool:
        is_running = self.models[claim.job.id].status is Status.RUNNING
        return is_running and self.epoch_of(claim.job.id) == claim.epoch

    def job_in(self, statuses: Collection[Status], pick: int) -> str:
        """Mostly a job that the step is meant for, now and then any."""
        meant = [job_id for job_id, model in self.models.items() if model.status in statuses]
        return _pick(list(self.models) if pick % 8 == 0 or not meant else meant, pick)

    def claim_of(self, pick: int) -> Claim:
        """Mostly one that holds its job, now and then an old one."""
        held = [claim for claim in self.claims if self.holds(claim)]
        return _pick(self.claims if pick % 8 == 0 or not held else held, pick)

    def change(self, job_id: str, model: Model) -> None:
        if model.status is not self.models[job_id].status:
            StoreMachine.steps[self.models[job_id].status, model.status] += 1
        self.models[job_id] = model

    def count(self, owner: str, statuses: tuple[Status, ...]) -> int:
        return sum(m.owner == owner and m.status in statuses for m in self.models.values())

    @rule(
        key=st.integers(0, 11),
        owner=st.sampled_from(OWNERS),
        size=st.sampled_from(SIZES),
        priority=st.integers(-1, 1),
    )
    def create(self, key: int, owner: str, size: int, priority: int) -> None:
        asked = spec(priority=priority, hyperparameters={"num_gpus": size})
        is_full = self.count(owner, WAITING) >= RULES.max_waiting
        if key not in self.keys and is_full:
            with pytest.raises(LimitReachedError):
                self.store.create(asked, owner=owner, submission_key=str(key))
            return
        job = self.store.create(asked, owner=owner, submission_key=str(key))
        assert self.keys.setdefault(key, job.id) == job.id
        model = Model(len(self.models) + 1, owner, size, priority)
        self.models.setdefault(job.id, model)

    @precondition(has_jobs)
    @rule(pick=PICKS, is_good=st.sampled_from((True, True, False)))
    def validate(self, pick: int, is_good: bool) -> None:
        self.accept_or_reject(self.job_in((Status.VALIDATING_FILES,), pick), is_good)

    def accept_or_reject(self, job: str, is_good: bool) -> None:
        model = self.models[job]
        answer = (
            self.store.accept(job)
            if is_good
            else self.store.reject(job, JobError(code="bad_data", message="m"))
        )
        assert answer is (model.status is Status.VALIDATING_FILES)
        if answer:
            status = Status.QUEUED if is_good else Status.FAILED
            self.change(job, model.to(status, is_accepted=model.is_accepted or is_good))

    @rule(size=st.sampled_from(SIZES))
    def claim(self, size: int) -> None:
        fitting = [
            job_id
            for job_id, model in self.models.items()
            if model.status is Status.QUEUED
            and model.num_slots <= size
            and self.count(model.owner, (Status.RUNNING,)) < RULES.max_running
        ]
        claim = self.leases.claim(worker="w", num_slots=size, lease_seconds=600)
        if not fitting:
            assert claim is None
            return
        assert claim is not None
        job_id = min(fitting, key=lambda job_id: self.models[job_id].rank)
        assert claim.job.id == job_id
        model = self.models[job_id]
        running = model.to(Status.RUNNING, epoch=model.epoch + 1, attempt=model.attempt + 1)
        self.change(job_id, running)
        assert claim.offsets.progress == model.offset
        self.claims.append(claim)

    @rule(key=st.integers(0, 11), owner=st.sampled_from(OWNERS))
    def create_and_run(self, key: int, owner: str) -> None:
        """The usual way, in one go: Hypothesis leaves out some rules in each of its examples."""
        self.create(key, owner, size=1, priority=0)
        if key in self.keys:
            self.accept_or_reject(self.keys[key], is_good=True)
        self.claim(size=4)

    @precondition(has_jobs)
    @rule(pick=PICKS)
    def resume_and_run(self, pick: int) -> None:
        self.resume(pick)
        self.claim(size=4)

    @precondition(has_claims)
    @rule(pick=PICKS)
    def beat(self, pick: int) -> None:
        claim = self.claim_of(pick)
        model = self.models[claim.job.id]
        wished = (
            HeartbeatDirective.PAUSE if model.pause and not model.cancel else BEATS[model.cancel]
        )
        assert self.leases.heartbeat(claim, 600) is (
            wished if self.holds(claim) else HeartbeatDirective.LOST
        )

    @precondition(has_claims)
    @rule(pick=PICKS, start=st.integers(0, 3), length=st.integers(1, 2), saves=st.booleans())
    def record(self, pick: int, start: int, length: int, saves: bool) -> None:
        claim = self.claim_of(pick)
        model = self.models[claim.job.id]
        end = start + length
        update = Update(
            events=tuple(NewEvent(f"line {number}") for number in range(start, end)),
            checkpoints=(NewCheckpoint(start, "c", {}),) if saves else (),
            offset_range=OffsetRange(Offsets(progress=start), Offsets(progress=end)),
        )
        try:
            recorded = self.leases.record(claim, update)
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

    @precondition(has_claims)
    @rule(pick=PICKS, status=st.sampled_from(sorted(OUTCOMES)))
    def finish(self, pick: int, status: Status) -> None:
        claim = self.claim_of(pick)
        model = self.models[claim.job.id]
        holds = self.holds(claim)
        is_told_again = self.epoch_of(claim.job.id) == claim.epoch and model.status is status
        assert self.leases.finish(claim, OUTCOMES[status]) is (holds or is_told_again)
        if holds:
            self.change(claim.job.id, model.to(status))

    @precondition(has_claims)
    @rule(pick=PICKS, loss=st.sampled_from(LOSSES))
    def release(self, pick: int, loss: InfraFailure | None) -> None:
        claim = self.claim_of(pick)
        model = self.models[claim.job.id]
        if self.holds(claim):
            model = model.given_back(loss)
            self.change(claim.job.id, model)
        assert self.leases.release(claim, reason="x", infra_failure=loss) is model.status

    @precondition(has_jobs)
    @rule(pick=PICKS)
    def lease_runs_out(self, pick: int) -> None:
        job = self.job_in((Status.RUNNING,), pick)
        self.redis.zadd(keys.RUNNING, {job: 1}, xx=True)
        model = self.models[job]
        is_running = model.status is Status.RUNNING
        assert self.leases.reap(10) == ((job,) if is_running else ())
        if is_running:
            self.change(job, model.given_back(InfraFailure("worker_lost")))

    @precondition(has_jobs)
    @rule(pick=PICKS, with_checkpoint=st.booleans())
    def cancel(self, pick: int, with_checkpoint: bool) -> None:
        job = self.job_in((Status.RUNNING, Status.QUEUED, Status.PAUSED), pick)
        model = self.models[job]
        if model.status.is_final:
            with pytest.raises(InvalidRequestError):
                self.store.cancel(job, with_checkpoint=with_checkpoint)
            return
        self.store.cancel(job, with_checkpoint=with_checkpoint)
        wish = "save" if with_checkpoint and model.cancel != "force" else "force"
        is_running = model.status is Status.RUNNING
        after = replace(model, cancel=wish)
        self.change(job, after if is_running else after.to(Status.CANCELLED))

    @precondition(has_jobs)
    @rule(pick=PICKS)
    def pause(self, pick: int) -> None:
        job = self.job_in((Status.RUNNING, Status.QUEUED), pick)
        model = self.models[job]
        is_cancelling = model.status is Status.RUNNING and model.cancel
        if model.status.is_final or model.status is Status.PAUSED or is_cancelling:
            with pytest.raises(InvalidRequestError):
                self.store.pause(job)
            return
        self.store.pause(job)
        is_running = model.status is Status.RUNNING
        self.change(job, replace(model, pause=True) if is_running else model.to(Status.PAUSED))

    @precondition(has_jobs)
    @rule(pick=PICKS)
    def resume(self, pick: int) -> None:
        job = self.job_in(RESUMABLE, pick)
        model = self.models[job]
        is_pausing = model.status is Status.RUNNING and model.pause
        if not is_pausing and model.status not in RESUMABLE:
            with pytest.raises(InvalidRequestError):
                self.store.resume(job)
            return
        self.store.resume(job)
        self.change(job, replace(model, pause=False) if is_pausing else model.resumed())
        self.epoch_of(job)

    @invariant()
    def the_store_agrees_with_the_model(self) -> None:
        StoreMachine.num_steps += 1
        for job_id, model in getattr(self, "models", {}).items():
            job = self.store.get(job_id)
            assert (job.number, job.status, job.epoch, job.attempt, job.result_floor) == (
                *(model.number, model.status, self.epoch_of(job_id), model.attempt),
                self.epochs.get((job_id, model.floor), -1),
            )
            assert (job.losses, job.failures) == (model.losses, model.failures)
            assert (job.cancel_requested, job.pause_requested) == (model.cancel, model.pause)
            assert (job.error is not None) == (model.status is Status.FAILED)
            assert (job.finished_at is not None) == model.status.is_final
            assert (job.worker is not None) == (model.status is Status.RUNNING)
            self.check_events(job_id, model)
            self.check_indexes(job_id, model)

    def check_events(self, job_id: str, model: Model) -> None:
        events = self.history.events_since(job_id).items
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        lines = [event.message for event in events if event.message.startswith("line")]
        assert lines == [f"line {number}" for number in range(model.num_lines)]

    def check_indexes(self, job_id: str, model: Model) -> None:
        for key, is_listed in (
            (keys.VALIDATING, model.status is Status.VALIDATING_FILES),
            (keys.QUEUED, model.status is Status.QUEUED),
            (keys.PENDING_NOTIFICATIONS, model.status is Status.QUEUED),
            (keys.WAITING_SINCE, model.status is Status.QUEUED),
            (keys.RUNNING, model.status is Status.RUNNING),
            (keys.PAUSED, model.status is Status.PAUSED),
        ):
            assert (self.redis.zscore(key, job_id) is not None) is is_listed
        for key, is_counted in (
            (keys.waiting_of(model.owner), model.status in WAITING),
            (keys.running_of(model.owner), model.status is Status.RUNNING),
        ):
            assert bool(self.redis.sismember(key, job_id)) is is_counted

    @invariant()
    def the_counts_of_jobs_are_right(self) -> None:
        statuses = Counter(model.status.value for model in getattr(self, "models", {}).values())
        counts = cast(dict[str, str], self.redis.hgetall(keys.COUNTS))
        kept = {status.value: int(counts.get(status.value, 0)) for status in Status}
        assert Counter(kept) == statuses


def test_the_store_behaves_like_its_model(redis: Redis) -> None:
    StoreMachine.redis = redis
    wanted = {(of, to) for of, following in ALLOWED_TRANSITIONS.items() for to in following}
    # The first round is the same each time but for the clock; some steps are rare.
    for number in range(MAX_ROUNDS):
        run_state_machine_as_test(
            StoreMachine,
            settings=settings(
                max_examples=NUM_EXAMPLES,
                derandomize=number == 0,
                stateful_step_count=50,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        if wanted == set(StoreMachine.steps):
            break
    assert wanted == set(StoreMachine.steps), f"not made in {MAX_ROUNDS} rounds"
    print(f"{StoreMachine.num_steps} transitions checked: {StoreMachine.steps}")


def _pick(items: list[Item], pick: int) -> Item:
    return items[pick // 8 % len(items)]
