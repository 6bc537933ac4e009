"""What became of jobs' integrations, as families of metrics."""

from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from worker.jobs.shipments import ShipmentCounts


def integration_families(counts: ShipmentCounts) -> Iterator[Metric]:
    shipments = CounterMetricFamily(
        "flant5_integration_shipments",
        "Tries to tell a tracker or hub of a job: done, failed (there is another one), given_up.",
        labels=["outcome"],
    )
    for outcome, number in counts.num_tries.items():
        shipments.add_metric([outcome], number)
    yield shipments
    yield GaugeMetricFamily(
        "flant5_integrations_waiting",
        "Integrations of jobs that are told something now, or have to be.",
        value=counts.num_waiting,
    )
