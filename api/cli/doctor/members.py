"""The workers and keepers that are here, as Redis knows them."""

from collections.abc import Callable

from pydantic import SecretStr
from redis import Redis, exceptions

from api.cli.doctor.finding import Finding, failed, fine, not_applicable, warning
from worker.jobs import keys
from worker.jobs.connection import open_redis, unavailable
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.workers import WorkerRegistry, WorkerState

_START = "docker compose up -d --wait, or `flant5 up`"


def check_workers(url: SecretStr) -> Finding:
    """Workers are here and take jobs."""
    return _asked(url, _workers)


def check_keeper(url: SecretStr) -> Finding:
    """A keeper is here: it checks files, and brings back what was lost."""
    return _asked(url, _keepers)


def _asked(url: SecretStr, look: Callable[[Redis], Finding]) -> Finding:
    with open_redis(url) as redis:
        try:
            return look(redis)
        except StoreUnavailableError as error:
            return not_applicable(str(error))
        except exceptions.ResponseError as error:
            return not_applicable(f"Redis does not let us look: {error}")


def _workers(redis: Redis) -> Finding:
    workers = WorkerRegistry(redis).all()
    if not workers:
        return warning("no worker is here", expected="one at least", remedy=_START)
    found = "; ".join(map(_described, workers))
    sick = [worker for worker in workers if worker.sick]
    if not sick:
        return fine(found)
    problem = failed if len(sick) == len(workers) else warning
    return problem(
        found,
        expected="workers whose GPUs work",
        remedy="nvidia-smi, sudo dmesg | grep -i xid; a worker takes jobs again by itself",
    )


def _keepers(redis: Redis) -> Finding:
    pattern = keys.keeper("*")
    with unavailable():
        found = sorted(set(redis.scan_iter(match=pattern, count=1000)))
    if not found:
        return warning(
            "no keeper has finished a round of late",
            expected="one at least: new jobs wait for it",
            remedy=_START,
        )
    return fine(", ".join(key.removeprefix(keys.keeper("")) for key in found))


def _described(worker: WorkerState) -> str:
    kind = "GPU" if not worker.devices[0].startswith("cpu-") else "CPU slot"
    number = f"{worker.num_slots} {kind}{'' if worker.num_slots == 1 else 's'}"
    if worker.sick:
        return f"{worker.name} ({number}) takes no jobs: {worker.sick}"
    return f"{worker.name} ({number}, {worker.job_id or 'idle'})"
