"""Webhook metrics."""

from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from worker.jobs.store.outbox import WebhookCounts


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
