"""Prometheus metrics at `/metrics`: counters of this process, and the state of the service.

The state is read from the store at each scrape: jobs, workers, webhooks and integrations. Every
label has few values: route templates, job statuses, registered workers and running jobs. Names and
units: docs/monitoring.md.
"""

import logging
import platform
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from redis import Redis

from api.services.store_loss import StoreLoss
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.job import Job, JobProgressState
from worker.jobs.store.outbox import ExportCounts, WebhookCounts, count_exports, count_webhooks
from worker.jobs.store.queue_status import QueueStats, collect_queue_stats
from worker.jobs.store.workers import WorkerState

_OF_PROGRESS = {
    "step": "Optimizer steps done by a running job.",
    "max_steps": "Total optimizer steps of a running job.",
    "loss": "Last reported loss of a running job: mean negative log-likelihood per target token.",
    "tokens_per_second": "Source and target tokens that a running job trains on per second.",
    "eta_seconds": "Remaining time of a running job.",
}


def queue_families(stats: QueueStats) -> Iterator[Metric]:
    """Yields the metrics of jobs and workers. Only running jobs and registered workers have series,
    so their number stays bounded."""
    jobs = GaugeMetricFamily("flant5_jobs", "Jobs by status.", labels=["status"])
    for status, number in stats.num_jobs.items():
        jobs.add_metric([status.value], number)
    yield jobs
    yield GaugeMetricFamily(
        "flant5_queue_longest_wait_seconds",
        "Waiting time of the longest-waiting queued job; 0 if the queue is empty.",
        value=stats.longest_wait_seconds,
    )
    yield from _running(stats.running)
    yield from _workers(stats.workers)


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


def _value(progress: JobProgressState, name: str) -> float | None:
    value: float | None = getattr(progress, name)
    return value


def _workers(workers: Sequence[WorkerState]) -> Iterator[Metric]:
    states = {"idle": 0, "busy": 0, "unhealthy": 0}
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
    if worker.unhealthy_reason is not None:
        return "unhealthy"
    return "idle" if worker.job_id is None else "busy"


def webhook_families(counts: WebhookCounts) -> Iterator[Metric]:
    """Yields the metrics of webhook deliveries. Endpoints that were removed from the file have no
    series."""
    deliveries = CounterMetricFamily(
        "flant5_webhook_deliveries",
        "Attempts to deliver job outcomes to webhook endpoints: delivered, failed (retried later), "
        "given_up.",
        labels=["outcome"],
    )
    for outcome, number in counts.num_tries.items():
        deliveries.add_metric([outcome], number)
    waiting = GaugeMetricFamily(
        "flant5_webhooks_waiting", "Webhooks pending per endpoint.", labels=["endpoint"]
    )
    for endpoint, number in counts.num_waiting.items():
        waiting.add_metric([endpoint], number)
    yield from (deliveries, waiting)


def integration_families(counts: ExportCounts) -> Iterator[Metric]:
    shipments = CounterMetricFamily(
        "flant5_integration_exports",
        "Attempts to send a job to a tracker or hub: done, failed (retried later), given_up.",
        labels=["outcome"],
    )
    for outcome, number in counts.num_tries.items():
        shipments.add_metric([outcome], number)
    yield shipments
    yield GaugeMetricFamily(
        "flant5_integrations_waiting",
        "Integrations of jobs with data being sent or still to be sent.",
        value=counts.num_waiting,
    )


_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_LABELS = ("method", "route", "status")

_log = logging.getLogger(__name__)


class ApiMetrics:
    """Metrics of one application, in a separate registry."""

    def __init__(
        self, redis: Redis, *, num_stream_clients: Callable[[], int], store_loss: StoreLoss
    ) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._requests = Counter(
            "flant5_http_requests", "Requests answered.", _LABELS, registry=self._registry
        )
        self._durations = Histogram(
            "flant5_http_request_duration_seconds",
            "Time from a request's arrival to the first byte of its response.",
            _LABELS,
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._uploaded = Counter(
            "flant5_upload_bytes", "Bytes of uploaded files stored.", registry=self._registry
        )
        self._registry.register(_ProcessCollector(num_stream_clients))
        self._registry.register(_ServiceCollector(redis, store_loss))

    def count_request(self, method: str, *, route: str, status: int, seconds: float) -> None:
        """Counts a request. `route` is a template (`/v1/files/{file_id}`), never a path. Any client
        can invent paths and methods, and each would become a permanent time series."""
        labels = (method if method in _METHODS else "other", route, str(status))
        self._requests.labels(*labels).inc()
        self._durations.labels(*labels).observe(seconds)

    def count_upload(self, num_bytes: int) -> None:
        self._uploaded.inc(num_bytes)

    def exposition(self) -> bytes:
        """Returns all metrics in Prometheus' text format. Ends within a few seconds, whatever the
        state of Redis."""
        return generate_latest(self._registry)


class _ProcessCollector(Collector):
    def __init__(self, num_stream_clients: Callable[[], int]) -> None:
        self._num_stream_clients = num_stream_clients

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "flant5_stream_clients", "Open live streams.", value=self._num_stream_clients()
        )
        build = {"version": _version(), "python": platform.python_version()}
        yield InfoMetricFamily("flant5_build", "Version of the running service.", value=build)


class _ServiceCollector(Collector):
    def __init__(self, redis: Redis, store_loss: StoreLoss) -> None:
        self._redis = redis
        self._store_loss = store_loss

    def describe(self) -> Iterator[Metric]:
        """Yields no names. Otherwise the registry would collect, and query Redis, when it is
        built."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        try:
            stats = collect_queue_stats(self._redis)
            webhooks = count_webhooks(self._redis)
            exports = count_exports(self._redis)
            losses = self._store_loss.families()
        except StoreUnavailableError as error:
            _log.warning("metrics: store is unavailable, omitting its metrics: %s", error)
            yield _up(0)
            return
        yield _up(1)
        yield from queue_families(stats)
        checks = CounterMetricFamily(
            "flant5_file_checks", "Finished checks of jobs' files.", labels=["verdict"]
        )
        for verdict, number in stats.num_checks.items():
            checks.add_metric([verdict], number)
        yield checks
        yield from webhook_families(webhooks)
        yield from integration_families(exports)
        yield from losses


def _up(value: int) -> Metric:
    return GaugeMetricFamily("flant5_redis_up", "1 if Redis responded to this scrape.", value=value)


def _version() -> str:
    try:
        return version("flant5")
    except PackageNotFoundError:
        return "unknown"
