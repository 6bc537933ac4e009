"""One run of chaos: references, faults, settling, judgement."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.chaos.caller import Caller
from tests.chaos.checker import (
    ORPHAN_SECONDS,
    Violation,
    check_end,
    check_losses,
    check_orphans,
    check_overlaps,
    check_repeats,
    check_result,
    seconds_to_notice,
)
from tests.chaos.evidence import Evidence, read_evidence
from tests.chaos.faults import Fault, places_of_rollbacks, plan
from tests.chaos.injector import Injector
from tests.chaos.processes import Look, Watch, processes_of
from tests.chaos.report import ChaosReport, Hit
from tests.chaos.rollback import AofHistory, Rollback, read_losses
from tests.chaos.specs import SPECS, create_request, write_training_file
from tests.chaos.testimony import launches, now
from tests.stack.parts import QUICK, Parts
from tests.stack.service import FINAL
from worker.jobs.storage.store_losses import DataLoss

SETTLE_SECONDS = 60.0
NUM_LAST = 8
"""Faults after which no new job comes, so that all can end in time."""
_POLL_SECONDS = 0.05
_WORKER = (sys.executable, "-m", "tests.chaos.worker")
_SETTINGS = {
    **QUICK,
    # Chaos takes more attempts than a service allows on a good day.
    "FLANT5_MAX_INFRA_RETRIES": "1000",
    "FLANT5_RETRY_SECONDS": "0.2",
}

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Observed:
    """What was seen of the service from outside, until it had settled."""

    hits: tuple[Hit, ...]
    misses: Mapping[str, int]
    looks: tuple[Look, ...]
    statuses: Mapping[str, str | None]
    """Of all acknowledged jobs at the end; None for one that the service doesn't know."""
    seconds_to_settle: float
    has_settled: bool
    rollbacks: tuple[Rollback, ...] = ()
    losses: tuple[DataLoss, ...] = ()
    """What the controllers reported."""


@dataclass(frozen=True, slots=True)
class Dose:
    """How much is done to the service; all of it follows from the seed."""

    seed: int
    num_faults: int
    num_rollbacks: int = 0
    """Faults that roll Redis back, beside those that the seed has anyway."""

    def faults(self) -> Iterator[Fault]:
        places = places_of_rollbacks(
            self.seed, num_rollbacks=self.num_rollbacks, num_faults=self.num_faults
        )
        return plan(self.seed, rollbacks=places)


def run_chaos(
    home: Path, dose: Dose, *, say: Say, settle_seconds: float = SETTLE_SECONDS
) -> ChaosReport:
    """Runs the service in `home`, which must not be there, and breaks it as often as the dose says,
    which must be more than the `NUM_LAST` that nobody submits a job after. Within `settle_seconds`
    after the last fault all jobs must have come to an end: a busy machine needs more."""
    num_faults = dose.num_faults
    assert num_faults > NUM_LAST, f"{num_faults} faults; expected more than {NUM_LAST}"
    home.mkdir(parents=True)
    data = home / "conversations.json"
    write_training_file(data)
    with Parts(home, settings=_SETTINGS, worker=_WORKER) as parts:
        training_file = parts.service.upload(data)
        references = _references(parts, training_file)
        say(f"seed {dose.seed}: the references are trained")
        caller = Caller(parts.service.url, training_file=training_file, seed=dose.seed)
        try:
            with (
                Watch(home, workers=lambda: _main_processes(parts)) as watch,
                AofHistory(parts) as aof,
            ):
                injector = Injector(parts, caller, aof)
                hits, misses = _inject(injector, caller, dose, say=say)
                started = time.monotonic()
                has_settled = _settle(caller, seconds=settle_seconds)
                seconds = time.monotonic() - started
                time.sleep(ORPHAN_SECONDS + 1)  # what is left now is left for good
            statuses = _statuses(parts, caller)
        finally:
            caller.close()
    observed = Observed(
        hits,
        misses,
        watch.looks,
        statuses,
        seconds,
        has_settled,
        rollbacks=tuple(injector.rollbacks),
        losses=tuple(read_losses(home)),
    )
    violations = _judge(home, caller, observed, references)
    left = processes_of(home)
    violations += [Violation("no orphan process", "", f"left at the end: {one}") for one in left]
    return _report(home, dose.seed, observed, violations)


def _references(parts: Parts, training_file: str) -> dict[str, Evidence]:
    """An uninterrupted run of each spec."""
    evidence = {}
    for name in SPECS:
        request = create_request(name, training_file=training_file, key=f"reference {name}")
        answer = httpx.post(f"{parts.service.url}/fine_tuning/jobs", json=request, timeout=30)
        job_id = answer.raise_for_status().json()["id"]
        job = parts.service.ended(job_id)
        assert job["status"] == "succeeded", job["error"]
        evidence[name] = read_evidence(parts.service.home, job_id)
        assert len(launches(list(evidence[name].witnesses))) == 1, "it was interrupted"
    return evidence


def _main_processes(parts: Parts) -> frozenset[int]:
    return frozenset(parts[name].pid for name in parts.workers if parts[name].is_alive)


def _inject(
    injector: Injector, caller: Caller, dose: Dose, *, say: Say
) -> tuple[tuple[Hit, ...], Counter[str]]:
    """Returns when the last fault is over and everything runs again."""
    num_faults = dose.num_faults
    hits: list[Hit] = []
    misses: Counter[str] = Counter()
    caller.start()
    for fault in dose.faults():
        if len(hits) == num_faults or caller.refusals:
            break
        if len(hits) == num_faults - NUM_LAST:
            caller.submit_no_more()
        next_at = time.monotonic() + fault.pause_seconds
        while time.monotonic() < next_at:
            injector.tick()
            time.sleep(_POLL_SECONDS)
        at = now()
        target = injector.inject(fault)
        if target is None:
            misses[fault.kind] += 1
            continue
        hits.append(Hit(at=at, kind=fault.kind, target=target))
        say(f"{len(hits):4d}  {fault.kind}: {target}")
    caller.submit_no_more()
    injector.end()
    return tuple(hits), misses


def _settle(caller: Caller, *, seconds: float) -> bool:
    """Whether all jobs came to an end in time; what is paused goes on."""
    deadline = time.monotonic() + seconds
    while (waiting := caller.outstanding()) and time.monotonic() < deadline:
        for job_id in waiting:
            job = caller.job(job_id)
            if job is not None and (job["status"] == "paused" or job_id in caller.resumable()):
                caller.resume(job_id)
        time.sleep(10 * _POLL_SECONDS)
    return not waiting


def _statuses(parts: Parts, caller: Caller) -> dict[str, str | None]:
    statuses: dict[str, str | None] = {}
    for one in caller.acknowledged:
        url = f"{parts.service.url}/fine_tuning/jobs/{one.job_id}"
        answer = httpx.get(url, timeout=30)
        is_known = answer.status_code != httpx.codes.NOT_FOUND
        statuses[one.job_id] = answer.raise_for_status().json()["status"] if is_known else None
    return statuses


def _judge(
    home: Path, caller: Caller, observed: Observed, references: Mapping[str, Evidence]
) -> list[Violation]:
    violations = [Violation("no request is refused", "", text) for text in caller.refusals]
    if not observed.statuses:
        violations.append(Violation("jobs are acknowledged", "", "not one was"))
    violations += check_repeats(caller.acknowledged, observed.rollbacks)
    violations += check_losses(observed.rollbacks, observed.losses)
    violations += check_orphans(observed.looks, caller.ends)
    specs = {one.job_id: one.spec for one in caller.acknowledged}
    for job_id, status in observed.statuses.items():
        evidence = read_evidence(home, job_id)
        violations += check_overlaps(evidence)
        violations += check_end(
            evidence,
            status=status,
            seen=caller.ends.get(job_id),
            is_cancelled=job_id in caller.cancels_sent,
        )
        if status == "succeeded":
            violations += check_result(evidence, references[specs[job_id]])
    if not observed.has_settled:
        late = [job_id for job_id, status in observed.statuses.items() if status not in FINAL]
        account = f"after {observed.seconds_to_settle:.0f} s not final: {late}"
        violations.append(Violation("all settles in time", "", account))
    return violations


def _report(home: Path, seed: int, observed: Observed, violations: list[Violation]) -> ChaosReport:
    evidence = [read_evidence(home, job_id) for job_id in observed.statuses]
    return ChaosReport(
        seed=seed,
        hits=observed.hits,
        faults=dict(Counter(hit.kind for hit in observed.hits)),
        misses=dict(observed.misses),
        ends=dict(Counter(str(status) for status in observed.statuses.values())),
        num_attempts=sum(len(launches(list(one.witnesses))) for one in evidence),
        num_resumes=sum(one.num_resumes for one in evidence),
        seconds_to_settle=round(observed.seconds_to_settle, 1),
        num_rollbacks_with_losses=sum(one.num_lost > 0 for one in observed.rollbacks),
        seconds_to_notice=_longest_notice(observed),
        violations=tuple(violations),
    )


def _longest_notice(observed: Observed) -> float:
    """Of the rollbacks that lost something, from the server's first answer to the report."""
    seconds = [
        seconds_to_notice(one, observed.losses) for one in observed.rollbacks if one.num_lost
    ]
    return round(max((each for each in seconds if each is not None), default=0.0), 1)
