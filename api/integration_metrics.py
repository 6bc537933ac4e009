"""Integration metrics."""

from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from worker.jobs.shipments import ShipmentCounts


def integration_families(counts: ShipmentCounts) -> Iterator[Metric]:
    shipments = CounterMetricFamily(
        "flant5_integration_shipments",
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
