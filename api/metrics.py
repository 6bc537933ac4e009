"""Prometheus metrics at `/metrics`: counters of this process, and the service state read from the
store at each scrape.

Every label has few values: route templates, job statuses, registered workers and running jobs.
Names and units: docs/monitoring.md.
"""

import logging
import platform
from collections.abc import Callable, Iterator
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

from api.integration_metrics import integration_families
from api.overview_metrics import overview_families
from api.services.store_loss import StoreLoss
from api.webhook_metrics import webhook_families
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.overview import look
from worker.jobs.shipments import count_shipments
from worker.jobs.store.outbox import count_webhooks

_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_LABELS = ("method", "route", "status")

_log = logging.getLogger(__name__)


class Metrics:
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
        self._registry.register(_Process(num_stream_clients))
        self._registry.register(_Service(redis, store_loss))

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


class _Process(Collector):
    def __init__(self, num_stream_clients: Callable[[], int]) -> None:
        self._num_stream_clients = num_stream_clients

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "flant5_stream_clients", "Open live streams.", value=self._num_stream_clients()
        )
        build = {"version": _version(), "python": platform.python_version()}
        yield InfoMetricFamily("flant5_build", "Version of the running service.", value=build)


class _Service(Collector):
    def __init__(self, redis: Redis, store_loss: StoreLoss) -> None:
        self._redis = redis
        self._store_loss = store_loss

    def describe(self) -> Iterator[Metric]:
        """Yields no names. Otherwise the registry would collect, and query Redis, when it is
        built."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        try:
            overview = look(self._redis)
            webhooks = count_webhooks(self._redis)
            shipments = count_shipments(self._redis)
            losses = self._store_loss.families()
        except StoreUnavailableError as error:
            _log.warning("metrics: store is unavailable, omitting its metrics: %s", error)
            yield _up(0)
            return
        yield _up(1)
        yield from overview_families(overview)
        checks = CounterMetricFamily(
            "flant5_file_checks", "Finished checks of jobs' files.", labels=["verdict"]
        )
        for verdict, number in overview.num_checks.items():
            checks.add_metric([verdict], number)
        yield checks
        yield from webhook_families(webhooks)
        yield from integration_families(shipments)
        yield from losses


def _up(value: int) -> Metric:
    return GaugeMetricFamily("flant5_redis_up", "1 if Redis responded to this scrape.", value=value)


def _version() -> str:
    try:
        return version("flant5")
    except PackageNotFoundError:
        return "unknown"
