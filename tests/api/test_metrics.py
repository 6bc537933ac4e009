"""What Prometheus is told: true figures, few labels, and an answer whatever Redis does."""

import re
from pathlib import Path
from typing import cast

from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from redis import Redis

from api.app import create_app
from api.auth import hash_of
from api.settings import ApiSettings
from tests.api.scenes import CONVERSATIONS, claim_new_job, make_job
from worker.jobs.job import JobError, JobProgressState, Status
from worker.jobs.rules import QueuePolicy
from worker.jobs.store.outbox import ExportOutbox, WebhookOutbox, WebhookSubscription
from worker.jobs.store.redis import Scripts
from worker.jobs.store.serialization import Cancelled, Succeeded, Update
from worker.jobs.store.store import JobStore
from worker.jobs.store.workers import WorkerRegistry, WorkerState

Labels = frozenset[tuple[str, str]]


class Scrape:
    """One answer of /metrics, read as Prometheus reads it."""

    def __init__(self, client: TestClient) -> None:
        response = client.get("http://testserver/metrics")
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("text/plain")
        self.samples: dict[tuple[str, Labels], float] = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(response.text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        return self.samples.get((name, frozenset(labels.items())))

    def series(self, name: str) -> list[dict[str, str]]:
        return [dict(labels) for found, labels in self.samples if found == name]


def test_jobs_are_counted_in_each_status(client: TestClient, store: JobStore) -> None:
    for outcome in (Succeeded("ft:m"), Cancelled()):
        claim = claim_new_job(store)
        assert store.leases.finish(claim, outcome)
    assert store.reject(make_job(store).id, JobError(code="bad_data", message="no"))
    store.pause(make_job(store).id)
    claim_new_job(store)
    for _ in range(2):
        assert store.accept(make_job(store).id)
    make_job(store)
    scrape = Scrape(client)
    numbers = {status: scrape.value("flant5_jobs", status=status.value) for status in Status}
    assert numbers == dict.fromkeys(Status, 1) | {Status.QUEUED: 2}
    assert scrape.value("flant5_file_checks_total", verdict="accepted") == 5
    assert scrape.value("flant5_file_checks_total", verdict="rejected") == 1
    assert scrape.value("flant5_redis_up") == 1


def test_webhooks_are_counted_by_what_became_of_them(
    client: TestClient, store: JobStore, redis: Redis
) -> None:
    outbox = WebhookOutbox(Scripts(redis, QueuePolicy()))
    wants = WebhookSubscription("ci", "*", frozenset({Status.CANCELLED}), max_age_seconds=60)
    assert Scrape(client).series("flant5_webhooks_waiting") == []
    outbox.subscribe([wants])
    for _ in range(2):
        store.cancel(make_job(store).id)
    first, second = outbox.claim_due("ci", limit=9, lease_seconds=60)
    outbox.retry(first, pause_seconds=60)
    outbox.dead_letter(second, reason="HTTP 500")
    scrape = Scrape(client)
    counted = {
        outcome: scrape.value("flant5_webhook_deliveries_total", outcome=outcome)
        for outcome in ("delivered", "failed", "given_up")
    }
    assert counted == {"delivered": 0, "failed": 1, "given_up": 1}
    assert scrape.value("flant5_webhooks_waiting", endpoint="ci") == 1


def test_integrations_are_counted_by_what_became_of_them(
    client: TestClient, store: JobStore, redis: Redis
) -> None:
    outbox = ExportOutbox(Scripts(redis, QueuePolicy()))
    claim_new_job(store, integrations=[{"type": "wandb", "wandb": {"project": "chats"}}])
    (taken,) = outbox.claim_due(limit=1, lease_seconds=60)
    outbox.retry(taken, pause_seconds=60)
    scrape = Scrape(client)
    assert scrape.value("flant5_integration_exports_total", outcome="failed") == 1
    assert scrape.value("flant5_integration_exports_total", outcome="given_up") == 0
    assert scrape.value("flant5_integrations_waiting") == 1


def test_a_removed_job_is_counted_no_more(client: TestClient, store: JobStore) -> None:
    job = store.cancel(make_job(store).id)
    assert Scrape(client).value("flant5_jobs", status="cancelled") == 1
    assert store.deleted.delete_old(job, min_age_seconds=0)
    assert Scrape(client).value("flant5_jobs", status="cancelled") == 0


def test_a_running_job_tells_its_progress_until_it_ends(
    client: TestClient, store: JobStore
) -> None:
    claim = claim_new_job(store)
    progress = JobProgressState(step=3, max_steps=9, percent=33.3, loss=2.5, tokens_per_second=70.0)
    store.leases.record(claim, Update(progress=progress))
    scrape = Scrape(client)
    told = {
        name: scrape.value(f"flant5_job_{name}", job_id=claim.job.id)
        for name in ("step", "max_steps", "loss", "tokens_per_second", "eta_seconds")
    }
    assert told == {
        "step": 3,
        "max_steps": 9,
        "loss": 2.5,
        "tokens_per_second": 70,
        "eta_seconds": None,
    }
    assert scrape.value("flant5_job_running", job_id=claim.job.id, worker="gpu-0") == 1
    store.leases.finish(claim, Succeeded("ft:m"))
    assert not [
        labels for _, labels in Scrape(client).samples if ("job_id", claim.job.id) in labels
    ]


def test_the_longest_wait_is_that_of_the_oldest_job_and_not_of_the_first(
    client: TestClient, store: JobStore
) -> None:
    assert Scrape(client).value("flant5_queue_longest_wait_seconds") == 0
    for _ in range(2):
        assert store.accept(make_job(store).id)
    waited = Scrape(client).value("flant5_queue_longest_wait_seconds")
    assert waited is not None
    assert 0 <= waited < 60


def test_a_scrape_costs_the_same_however_many_jobs_wait(
    client: TestClient, store: JobStore, redis: Redis
) -> None:
    def commands_of_a_scrape() -> int:
        before = cast(dict[str, int], redis.info("stats"))["total_commands_processed"]
        Scrape(client)
        return cast(dict[str, int], redis.info("stats"))["total_commands_processed"] - before

    assert store.accept(make_job(store).id)
    Scrape(client)  # whatever a first connection takes
    num_commands = commands_of_a_scrape()
    for _ in range(20):
        assert store.accept(make_job(store).id)
    assert commands_of_a_scrape() == num_commands


def test_workers_are_idle_busy_or_sick(client: TestClient, store: JobStore) -> None:
    registry = WorkerRegistry(Scripts(store._redis, QueuePolicy()))
    for name, devices in (("gpu-0", ("0",)), ("gpu-1", ("1", "2")), ("gpu-2", ("3",))):
        registry.register(WorkerState(name=name, devices=devices), seconds=600)
    registry.set_health("gpu-1", "CUDA does not answer")
    claim_new_job(store)
    scrape = Scrape(client)
    states = ("idle", "busy", "unhealthy")
    assert [scrape.value("flant5_workers", state=state) for state in states] == [1, 1, 1]
    assert [scrape.value("flant5_worker_slots", state=state) for state in states] == [1, 1, 2]


def test_a_thousand_unknown_paths_and_methods_make_one_label(client: TestClient) -> None:
    for number in range(1000):
        client.get(f"/nothing-{number}")
    for number in range(20):
        client.request(f"ODD{number}", "/models")
        client.get(f"/files/file-{number}")
    scrape = Scrape(client)
    name = "flant5_http_requests_total"
    assert scrape.value(name, method="GET", route="none", status="404") == 1000
    route = "/v1/files/{file_id}"
    assert scrape.value(name, method="GET", route=route, status="404") == 20
    methods = {labels["method"] for labels in scrape.series(name)}
    assert methods == {"GET", "other"}
    count = "flant5_http_request_duration_seconds_count"
    assert scrape.value(count, method="GET", route=route, status="404") == 20


def test_uploaded_bytes_are_counted(client: TestClient) -> None:
    client.post("/files", files={"file": ("a", CONVERSATIONS)}, data={"purpose": "fine-tune"})
    assert Scrape(client).value("flant5_upload_bytes_total") == len(CONVERSATIONS)


def test_while_redis_is_away_the_process_still_tells_of_itself(tmp_path: Path) -> None:
    settings = ApiSettings(home=tmp_path, redis_url=SecretStr("redis://127.0.0.1:1/0"))
    scrape = Scrape(TestClient(create_app(settings)))
    assert scrape.value("flant5_redis_up") == 0
    assert scrape.value("flant5_stream_clients") == 0
    assert scrape.series("process_resident_memory_bytes") == [{}]
    assert scrape.series("flant5_build_info")
    assert not scrape.series("flant5_jobs")


def test_with_keys_a_scrape_needs_one(tmp_path: Path, redis_url: SecretStr) -> None:
    keys_file = tmp_path / "keys"
    keys_file.write_text(f"prometheus:{hash_of('f5-metrics')}:read,admin\n")
    settings = ApiSettings(home=tmp_path, redis_url=redis_url, api_keys_file=keys_file)
    client = TestClient(create_app(settings))
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"authorization": "Bearer f5-metrics"}).status_code == 200


def test_applications_in_one_process_do_not_share_figures(
    client: TestClient, settings: ApiSettings
) -> None:
    client.get("/models")
    other = Scrape(TestClient(create_app(settings)))
    assert not other.series("flant5_http_requests_total")


def test_the_contract_does_not_name_it(app: FastAPI) -> None:
    assert "/metrics" not in app.openapi()["paths"]


def test_alerts_and_dashboard_ask_for_what_is_told(client: TestClient, store: JobStore) -> None:
    progress = JobProgressState(
        step=3, max_steps=9, percent=33.3, loss=2.5, tokens_per_second=70.0, eta_seconds=1.0
    )
    store.leases.record(claim_new_job(store), Update(progress=progress))
    client.get("http://testserver/healthz")
    told = {name for name, _ in Scrape(client).samples}
    folder = Path(__file__).parents[2] / "docker" / "monitoring"
    for file in ("alerts.yml", "grafana/dashboards/flant5.json"):
        asked = set(re.findall(r"flant5_\w+", (folder / file).read_text("utf-8")))
        assert len(asked) > 3
        assert asked <= told
