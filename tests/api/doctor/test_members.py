"""Workers and keepers, told by a real registry."""

from pydantic import SecretStr
from redis import Redis

from api.cli.doctor.finding import State
from api.cli.doctor.members import check_keeper, check_workers
from tests.ports import free_port
from worker.jobs.workers import WorkerRegistry, WorkerState
from worker.keeper.presence import KeeperPresence

ONE = WorkerState(name="gpu-1", devices=("GPU-5d5b", "GPU-77aa"))
OTHER = WorkerState(name="cpu-box", devices=("cpu-0",))


def test_workers_are_named_with_what_they_have(redis: Redis, redis_url: SecretStr) -> None:
    registry = WorkerRegistry(redis)
    registry.appear(ONE, seconds=60)
    registry.appear(OTHER, seconds=60)
    finding = check_workers(redis_url)
    assert finding.state is State.OK
    assert finding.found == "cpu-box (1 CPU slot, idle); gpu-1 (2 GPUs, idle)"


def test_a_sick_worker_is_a_warning_and_none_that_is_well_a_failure(
    redis: Redis, redis_url: SecretStr
) -> None:
    registry = WorkerRegistry(redis)
    registry.appear(ONE, seconds=60)
    registry.set_health(ONE.name, "GPU-5d5b fell off the bus")
    assert check_workers(redis_url).state is State.FAILED
    registry.appear(OTHER, seconds=60)
    finding = check_workers(redis_url)
    assert finding.state is State.WARNING
    assert "gpu-1 (2 GPUs) takes no jobs: GPU-5d5b fell off the bus" in finding.found


def test_nobody_here_is_a_warning(redis: Redis, redis_url: SecretStr) -> None:
    for check in (check_workers, check_keeper):
        finding = check(redis_url)
        assert finding.state is State.WARNING
        assert "docker compose up" in finding.remedy


def test_a_keeper_is_known_by_its_sign_of_life(redis: Redis, redis_url: SecretStr) -> None:
    KeeperPresence(redis, name="host-7").appear()
    finding = check_keeper(redis_url)
    assert (finding.state, finding.found) == (State.OK, "host-7")


def test_without_redis_nobody_is_judged() -> None:
    url = SecretStr(f"redis://127.0.0.1:{free_port()}/0")
    for check in (check_workers, check_keeper):
        finding = check(url)
        assert finding.state is State.NOT_APPLICABLE
        assert "Redis is not available" in finding.found
