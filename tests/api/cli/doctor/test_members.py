"""Workers and controllers, told by a real registry."""

from functools import partial
from pathlib import Path

from pydantic import SecretStr
from redis import Redis

from api.cli.doctor.check import State
from api.cli.doctor.services import (
    check_controller,
    check_integrations,
    check_serving,
    check_webhooks,
    check_workers,
)
from tests.ports import free_port
from tests.worker.scenes import claimed_job, queued_job
from worker.daemon import DaemonPresence
from worker.jobs.job import Status
from worker.jobs.rules import QueuePolicy
from worker.jobs.store import keys
from worker.jobs.store.inference import InferenceWorkers, new_worker_name
from worker.jobs.store.outbox import (
    ALL_OWNERS,
    IntegrationRegistry,
    WebhookOutbox,
    WebhookSubscription,
)
from worker.jobs.store.redis import Scripts
from worker.jobs.store.store import JobStore
from worker.jobs.store.workers import WorkerRegistry, WorkerState

ONE = WorkerState(name="gpu-1", devices=("GPU-5d5b", "GPU-77aa"))
OTHER = WorkerState(name="cpu-box", devices=("cpu-0",))


def test_workers_are_named_with_what_they_have(redis: Redis, redis_url: SecretStr) -> None:
    registry = WorkerRegistry(Scripts(redis, QueuePolicy()))
    registry.register(ONE, seconds=60)
    registry.register(OTHER, seconds=60)
    finding = check_workers(redis_url)
    assert finding.state is State.OK
    assert finding.found == "cpu-box (1 CPU slot, idle); gpu-1 (2 GPUs, idle)"


def test_a_sick_worker_is_a_warning_and_none_that_is_well_a_failure(
    redis: Redis, redis_url: SecretStr
) -> None:
    registry = WorkerRegistry(Scripts(redis, QueuePolicy()))
    registry.register(ONE, seconds=60)
    registry.set_health(ONE.name, "GPU-5d5b fell off the bus")
    assert check_workers(redis_url).state is State.FAILED
    registry.register(OTHER, seconds=60)
    finding = check_workers(redis_url)
    assert finding.state is State.WARNING
    assert "gpu-1 (2 GPUs) accepts no jobs: GPU-5d5b fell off the bus" in finding.found


def test_nobody_here_is_a_warning(redis: Redis, redis_url: SecretStr) -> None:
    for check in (check_workers, check_controller, check_serving):
        finding = check(redis_url)
        assert finding.state is State.WARNING
        assert "docker compose up" in finding.remedy


def test_a_controller_is_known_by_its_sign_of_life(redis: Redis, redis_url: SecretStr) -> None:
    DaemonPresence(redis, name="host-7").register()
    finding = check_controller(redis_url)
    assert (finding.state, finding.found) == (State.OK, "host-7")


def test_a_serving_process_is_named_with_its_device(redis: Redis, redis_url: SecretStr) -> None:
    workers = InferenceWorkers(redis)
    workers.register(new_worker_name("host-1"), device="cuda:1")
    assert check_serving(redis_url).found == "host-1 (cuda:1)"
    workers.register(new_worker_name("host-0"))  # the name does not show its device
    assert check_serving(redis_url).found == "host-0 (older version); host-1 (cuda:1)"
    for server in workers.all():
        workers.deregister(server)
    assert "/v1/chat/completions" in check_serving(redis_url).expected
    assert not redis.keys(keys.chat_device("*"))


def test_webhooks_without_endpoints_are_nobodys_matter(redis: Redis, redis_url: SecretStr) -> None:
    assert check_webhooks(redis_url, file=None).state is State.NOT_APPLICABLE


def test_endpoints_that_nobody_sends_to_are_a_warning(
    redis: Redis, redis_url: SecretStr, tmp_path: Path
) -> None:
    finding = check_webhooks(redis_url, file=tmp_path / "webhooks.toml")
    assert (finding.state, finding.found) == (
        State.WARNING,
        f"endpoints are configured ({tmp_path / 'webhooks.toml'}), but no webhook process is alive",
    )
    assert "--profile webhooks" in finding.remedy
    subscription = WebhookSubscription(
        "tickets", ALL_OWNERS, frozenset(Status), max_age_seconds=3600
    )
    WebhookOutbox(Scripts(redis, QueuePolicy())).subscribe([subscription])
    store = JobStore(redis)
    store.cancel(queued_job(store).id)
    finding = check_webhooks(redis_url, file=None)
    assert finding.found == (
        "endpoints are configured (tickets), but no webhook process is alive; pending webhooks: 1"
    )
    DaemonPresence(redis, name="host-7", key_of=keys.webhook_sender).register()
    finding = check_webhooks(redis_url, file=None)
    assert (finding.state, finding.found) == (
        State.OK,
        "host-7 sends to tickets; pending webhooks: 1",
    )


def test_without_integrations_nobody_has_to_tell_them(redis: Redis, redis_url: SecretStr) -> None:
    assert check_integrations(redis_url, file=None).state is State.NOT_APPLICABLE


def test_integrations_that_nobody_tells_are_a_warning(
    redis: Redis, redis_url: SecretStr, tmp_path: Path
) -> None:
    finding = check_integrations(redis_url, file=tmp_path / "integrations.toml")
    assert (finding.state, finding.found) == (
        State.WARNING,
        f"integrations are configured ({tmp_path / 'integrations.toml'}), but no integrations "
        "process is alive",
    )
    assert "--profile integrations" in finding.remedy
    offers = IntegrationRegistry(Scripts(redis, QueuePolicy()))
    offers.publish({"mlflow": ["*"], "huggingface": ["*"]}, namespaces={"huggingface": ["team"]})
    told = [{"type": "mlflow", "mlflow": {"experiment": "chats"}}]
    claimed_job(JobStore(redis), integrations=told)
    found = check_integrations(redis_url, file=None).found
    assert found == (
        "integrations are configured (huggingface, mlflow), but no integrations process is alive; "
        "pending exports: 1"
    )
    DaemonPresence(redis, name="host-7", key_of=keys.integrations_process).register()
    finding = check_integrations(redis_url, file=None)
    assert (finding.state, finding.found) == (
        State.OK,
        "host-7 exports to huggingface, mlflow; pending exports: 1",
    )


def test_without_redis_nobody_is_judged() -> None:
    url = SecretStr(f"redis://127.0.0.1:{free_port()}/0")
    told_of_ends = (partial(check_webhooks, file=None), partial(check_integrations, file=None))
    for check in (check_workers, check_controller, check_serving, *told_of_ends):
        finding = check(url)
        assert finding.state is State.NOT_APPLICABLE
        assert "Redis is not available" in finding.found
