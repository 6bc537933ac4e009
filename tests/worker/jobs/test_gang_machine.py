"""Gangs against a plain model of them, in random order, on a real server."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

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

from tests.worker.jobs.test_state_machine import MAX_ROUNDS, NUM_EXAMPLES
from tests.worker.scenes import spec
from worker.jobs.job import Status
from worker.jobs.rules import QueuePolicy
from worker.jobs.store import keys
from worker.jobs.store.leases import MemberEnd, Membership, PendingGang
from worker.jobs.store.redis import Scripts
from worker.jobs.store.serialization import Claim, HeartbeatDirective, InfraFailure, Succeeded
from worker.jobs.store.store import JobStore
from worker.jobs.store.workers import WorkerRegistry, WorkerState

WORKERS = ("a", "b", "c", "d")
RULES = QueuePolicy(max_infra_retries=10**6, retry_seconds=0, left_seconds=0, gang_wait_seconds=600)
NAMES, PICKS = st.sampled_from(WORKERS), st.integers(0, 2**16)
KINDS, OVER = st.sampled_from(("done", "failed", "stops", "left")), {"failed", "left"}

Item = TypeVar("Item")


@dataclass
class Gang:
    """What must be true of one job."""

    num_nodes: int
    status: Status = Status.QUEUED
    epoch: int = 0
    """Of the last claim; 0 when nobody holds the job."""
    leader: str | None = None
    workers: list[str] = field(default_factory=list)
    members: set[str] = field(default_factory=set)
    """Those whose nodes have not ended."""
    ends: dict[str, str] = field(default_factory=dict)

    def leave(self, status: Status) -> None:
        if status is Status.QUEUED:
            self.epoch = 0
        self.status, self.leader = status, None
        self.workers, self.members, self.ends = [], set(), {}


class GangMachine(RuleBasedStateMachine):
    redis: Redis
    """Set by the test."""
    seen: ClassVar[Counter[str]] = Counter()

    @initialize()
    def begin(self) -> None:
        self.redis.flushall()
        self.store = JobStore(self.redis, RULES)
        self.registry = WorkerRegistry(Scripts(self.redis, QueuePolicy()))
        for name in WORKERS:
            self.registry.register(WorkerState(name, (f"cpu-{name}",)), seconds=3600)
        self.jobs: dict[str, Gang] = {}
        self.seats: dict[str, str] = {}
        self.sick: set[str] = set()
        self.claims: list[Claim] = []
        self.memberships: list[Membership] = []

    def busy(self) -> set[str]:
        running = [job for job in self.jobs.values() if job.status is Status.RUNNING]
        return {name for job in running for name in (job.leader, *job.members) if name}

    def free(self) -> set[str]:
        return set(WORKERS) - self.busy() - self.sick

    def expected(self, name: str) -> tuple[str, str | None, list[str]]:
        """What the worker gets, of which job, with which others."""
        for job_id, job in self.jobs.items():
            if name in job.members:
                return "member", job_id, []
        free = self.free() - {name}
        seats = {other: at for other, at in self.seats.items() if other in free}
        for job_id, job in self.jobs.items():
            if job.status is not Status.QUEUED:
                continue
            seated = sorted(other for other, at in seats.items() if at == job_id)
            if len(seated) + 1 >= job.num_nodes:
                return "claimed", job_id, seated[: job.num_nodes - 1]
            if len(free - set(seats)) + len(seated) + 1 >= job.num_nodes:
                return "seated", job_id, []
        return "nothing", None, []

    @rule(num_nodes=st.integers(1, 4))
    def create(self, num_nodes: int) -> None:
        if sum(job.status is not Status.SUCCEEDED for job in self.jobs.values()) < 5:
            job = self.store.create(spec(hyperparameters={"num_nodes": num_nodes}))
            self.store.accept(job.id)
            self.jobs[job.id] = Gang(num_nodes)

    @rule(name=NAMES)
    def look(self, name: str) -> None:
        leads = name in {job.leader for job in self.jobs.values()}
        if leads or name in self.sick:
            return
        kind, job_id, others = self.expected(name)
        GangMachine.seen[f"{kind} with {len(others)}"] += 1
        found = self.store.leases.claim_or_wait_for_gang(
            worker=name, num_slots=1, lease_seconds=600
        )
        if kind == "member":
            assert isinstance(found, Membership)
            assert (found.job.id, found.epoch) == (job_id, self.jobs[found.job.id].epoch)
            assert self.jobs[found.job.id].workers[found.node] == name
            self.memberships.append(found)
            return
        before = self.seats.pop(name, None)
        if kind == "nothing":
            assert found is None
        elif kind == "seated":
            assert found == PendingGang(str(job_id), is_new=before != job_id)
            self.seats[name] = str(job_id)
        else:
            assert isinstance(found, Claim)
            assert found.job.id == job_id
            self.takes(found, name, others)

    def takes(self, claim: Claim, name: str, others: list[str]) -> None:
        job = self.jobs[claim.job.id]
        assert all(claim.epoch > each.epoch for each in self.claims if each.job.id == claim.job.id)
        job.status, job.leader, job.epoch = Status.RUNNING, name, claim.epoch
        job.workers, job.members = [name, *others], set(others)
        for other in others:
            del self.seats[other]
        self.claims.append(claim)

    @rule(num_nodes=st.integers(1, 4))
    def begin_a_gang(self, num_nodes: int) -> None:
        """The usual way, in one go: whoever is free comes, and those that were there hear of it."""
        self.create(num_nodes)
        for name in WORKERS:
            self.seat_is_left(name, "gets well")
        for name in 2 * WORKERS:
            self.look(name)

    @rule(num_nodes=st.integers(2, 4), pick=PICKS, kind=KINDS)
    def begin_and_end(self, num_nodes: int, pick: int, kind: str) -> None:
        """Hypothesis leaves out some rules in each of its examples."""
        self.begin_a_gang(num_nodes)
        if self.memberships:
            self.member_says(pick, kind)

    @rule(name=NAMES, way=st.sampled_from(("expires", "stands up", "falls ill", "gets well")))
    def seat_is_left(self, name: str, way: str) -> None:
        if way == "expires" and name in self.seats:
            self.redis.hset(keys.worker(name), "sits_until", 1)
            del self.seats[name]
        elif way == "stands up":
            found = self.store.gangs.leave_gang(name)
            assert (found is not None) is any(name in job.members for job in self.jobs.values())
            self.seats.pop(name, None)
        elif way == "falls ill":
            self.registry.set_health(name, "hot")
            self.sick.add(name)
        elif way == "gets well":
            self.registry.set_health(name, None)
            self.sick.discard(name)

    @precondition(lambda self: self.memberships)
    @rule(pick=PICKS, kind=KINDS)
    def member_says(self, pick: int, kind: str) -> None:
        member = _mostly_of_now(self.memberships, pick, self.takes_part)
        job = self.jobs[member.job.id]
        holds = self.takes_part(member)
        directive, _ = self.store.gangs.heartbeat(member)
        assert directive is (HeartbeatDirective.GO_ON if holds else HeartbeatDirective.LOST)
        end = MemberEnd.model_validate({"kind": kind})
        assert self.store.gangs.end(member, end) is holds
        if holds:
            job.ends[member.worker] = kind
            job.members -= set() if kind == "stops" else {member.worker}
            claim = next(each for each in reversed(self.claims) if each.job.id == member.job.id)
            self.check_beat(claim)

    def takes_part(self, member: Membership) -> bool:
        job = self.jobs[member.job.id]
        return job.epoch == member.epoch and member.worker in job.members

    def holds(self, claim: Claim) -> bool:
        job = self.jobs[claim.job.id]
        return job.status is Status.RUNNING and job.epoch == claim.epoch

    def check_beat(self, claim: Claim) -> None:
        ends = set(self.jobs[claim.job.id].ends.values())
        heard = HeartbeatDirective.MEMBER_STOPS if "stops" in ends else HeartbeatDirective.GO_ON
        heard = HeartbeatDirective.MEMBER_OVER if OVER & ends else heard
        heard = heard if self.holds(claim) else HeartbeatDirective.LOST
        assert self.store.leases.heartbeat(claim, 600) is heard
        GangMachine.seen[heard.name] += 1

    @precondition(lambda self: self.claims)
    @rule(pick=PICKS, step=st.sampled_from(("beat", "beat", "finish", "release", "lose")))
    def leader_says(self, pick: int, step: str) -> None:
        claim = _mostly_of_now(self.claims, pick, self.holds)
        job, holds = self.jobs[claim.job.id], self.holds(claim)
        if step == "beat":
            self.check_beat(claim)
        elif step == "finish" and holds:
            assert self.store.leases.finish(claim, Succeeded("ft:x"))
            job.leave(Status.SUCCEEDED)
        elif step in ("release", "lose"):
            infra_failure = InfraFailure("worker_lost") if step == "lose" else None
            self.store.leases.release(claim, reason="x", infra_failure=infra_failure)
            if holds:
                job.leave(Status.QUEUED)

    @precondition(lambda self: any(not self.holds(claim) for claim in self.claims))
    @rule(pick=PICKS)
    def a_former_leader_beats(self, pick: int) -> None:
        former = [claim for claim in self.claims if not self.holds(claim)]
        self.check_beat(former[pick % len(former)])

    @rule(name=NAMES)
    def worker_is_restarted(self, name: str) -> None:
        held = {i for i, job in self.jobs.items() if name == job.leader or name in job.members}
        assert set(self.store.leases.release_worker(name)) == held
        self.seats.pop(name, None)
        for job_id in held:
            self.jobs[job_id].leave(Status.QUEUED)

    @invariant()
    def the_store_agrees_with_the_model(self) -> None:
        for job_id, model in getattr(self, "jobs", {}).items():
            job = self.store.get(job_id)
            assert (job.status, job.worker) == (model.status, model.leader)
            assert model.epoch in (0, job.epoch)
            assert list(job.workers) == model.workers
            assert set(self.redis.zrange(keys.members(job_id), 0, -1)) == model.members
            assert len(model.workers) == (model.num_nodes if job.status is Status.RUNNING else 0)
        self.each_worker_is_in_one_place()

    def each_worker_is_in_one_place(self) -> None:
        if not hasattr(self, "jobs"):
            return
        for state in self.registry.all():
            at = [
                job_id
                for job_id, job in self.jobs.items()
                if state.name == job.leader or state.name in job.members
            ]
            assert len(at) <= 1
            assert state.job_id == (at[0] if at else None)
            sits = self.redis.hmget(keys.worker(state.name), "sits_at", "sits_until")
            is_fresh = sits[0] is not None and int(sits[1] or 0) > 1
            assert (sits[0] if is_fresh else None) == self.seats.get(state.name)
            assert not (at and is_fresh)


def test_gangs_behave_like_their_model(redis: Redis) -> None:
    GangMachine.redis = redis
    found = ("member with 0", "seated with 0", *(f"claimed with {num}" for num in (0, 1, 3)))
    beats = (
        HeartbeatDirective.GO_ON,
        HeartbeatDirective.MEMBER_STOPS,
        HeartbeatDirective.MEMBER_OVER,
        HeartbeatDirective.LOST,
    )
    wanted = {*found, *(directive.name for directive in beats)}
    # The first round is the same each time but for the clock; some answers are rare.
    for number in range(MAX_ROUNDS):
        run_state_machine_as_test(
            GangMachine,
            settings=settings(
                max_examples=NUM_EXAMPLES,
                derandomize=number == 0,
                stateful_step_count=50,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        if wanted <= set(GangMachine.seen):
            break
    print(GangMachine.seen)
    missing = wanted - set(GangMachine.seen)
    assert not missing, f"not answered in {MAX_ROUNDS} rounds"


def _mostly_of_now(items: list[Item], pick: int, is_of_now: Callable[[Item], bool]) -> Item:
    """Now and then one of an attempt that is over."""
    current = [item for item in items if is_of_now(item)]
    chosen = current if current and pick % 8 else items
    return chosen[pick // 8 % len(chosen)]
