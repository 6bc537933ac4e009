"""Metrics of jobs and workers."""

from collections.abc import Iterator, Sequence

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from worker.jobs.job import Job, Progress
from worker.jobs.overview import Overview
from worker.jobs.store.workers import WorkerState

_OF_PROGRESS = {
    "step": "Optimizer steps done by a running job.",
    "max_steps": "Total optimizer steps of a running job.",
    "loss": "Last reported loss of a running job: mean negative log-likelihood per target token.",
    "tokens_per_second": "Source and target tokens that a running job trains on per second.",
    "eta_seconds": "Remaining time of a running job.",
}


def overview_families(overview: Overview) -> Iterator[Metric]:
    """Yields the metrics of jobs and workers. Only running jobs and registered workers have series,
    so their number stays bounded."""
    jobs = GaugeMetricFamily("flant5_jobs", "Jobs by status.", labels=["status"])
    for status, number in overview.num_jobs.items():
        jobs.add_metric([status.value], number)
    yield jobs
    yield GaugeMetricFamily(
        "flant5_queue_longest_wait_seconds",
        "Waiting time of the longest-waiting queued job; 0 if the queue is empty.",
        value=overview.longest_wait_seconds,
    )
    yield from _running(overview.running)
    yield from _workers(overview.workers)


def _running(jobs: Sequence[Job]) -> Iterator[Metric]:
    info = GaugeMetricFamily(
        "flant5_job_running",
        "1 for each running job, with its worker.",
        labels=["job_id", "worker"],
    )
    heartbeat = GaugeMetricFamily(
        "flant5_job_last_heartbeat_timestamp_seconds",
        "Last heartbeat of a running job's worker.",
        labels=["job_id"],
    )
    for job in jobs:
        info.add_metric([job.id, job.worker or ""], 1)
        if job.last_heartbeat_at is not None:
            heartbeat.add_metric([job.id], job.last_heartbeat_at)
    yield from (info, heartbeat)
    reported = {job.id: job.progress for job in jobs if job.progress is not None}
    for name, text in _OF_PROGRESS.items():
        family = GaugeMetricFamily(f"flant5_job_{name}", text, labels=["job_id"])
        for job_id, progress in reported.items():
            if (value := _value(progress, name)) is not None:
                family.add_metric([job_id], value)
        yield family


def _value(progress: Progress, name: str) -> float | None:
    value: float | None = getattr(progress, name)
    return value


def _workers(workers: Sequence[WorkerState]) -> Iterator[Metric]:
    states = {"idle": 0, "busy": 0, "sick": 0}
    slots = dict.fromkeys(states, 0)
    for worker in workers:
        state = _state_of(worker)
        states[state] += 1
        slots[state] += worker.num_slots
    for name, text, numbers in (
        ("flant5_workers", "Registered workers, by state.", states),
        ("flant5_worker_slots", "GPUs or CPU slots of the workers, by state.", slots),
    ):
        family = GaugeMetricFamily(name, text, labels=["state"])
        for state, number in numbers.items():
            family.add_metric([state], number)
        yield family


def _state_of(worker: WorkerState) -> str:
    """Returns the worker's state. A sick worker counts as sick even while it runs a job: the
    operator must act."""
    if worker.sick is not None:
        return "sick"
    return "idle" if worker.job_id is None else "busy"
