"""What became of webhooks, as families of metrics."""

from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from worker.jobs.deliveries import WebhookCounts


def webhook_families(counts: WebhookCounts) -> Iterator[Metric]:
    """An endpoint that is gone from the file has no series."""
    deliveries = CounterMetricFamily(
        "flant5_webhook_deliveries",
        "Tries to tell an endpoint how a job ended: delivered, failed (there is another one), "
        "given_up.",
        labels=["outcome"],
    )
    for outcome, number in counts.num_tries.items():
        deliveries.add_metric([outcome], number)
    waiting = GaugeMetricFamily(
        "flant5_webhooks_waiting", "Ends of jobs that wait for an endpoint.", labels=["endpoint"]
    )
    for endpoint, number in counts.num_waiting.items():
        waiting.add_metric([endpoint], number)
    yield from (deliveries, waiting)
