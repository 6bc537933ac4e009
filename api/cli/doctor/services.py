"""Checks the processes of the service by their heartbeats in Redis."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from pydantic import SecretStr
from redis import Redis, exceptions

from api.cli.doctor.check import Finding, failed, fine, not_applicable, warning
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.store import keys
from worker.jobs.store.inference import InferenceWorkers
from worker.jobs.store.outbox import count_exports, count_webhooks, published_types
from worker.jobs.store.redis import open_redis, translate_redis_errors
from worker.jobs.store.workers import WorkerState, live_workers

_START = "docker compose up -d --wait, or `flant5 up`"


def check_workers(url: SecretStr) -> Finding:
    """Checks that workers are alive and accept jobs."""
    return _asked(url, _workers)


def check_controller(url: SecretStr) -> Finding:
    """Checks that a controller is alive, which validates files and requeues lost jobs."""
    return _asked(url, _controllers)


def check_serving(url: SecretStr) -> Finding:
    """Checks that a serving process for chat completions is alive."""
    return _asked(url, _serving)


def check_webhooks(url: SecretStr, *, file: Path | None) -> Finding:
    """Checks that a webhook sender is alive if endpoints are configured in `file`."""
    return _asked(url, partial(_webhooks, file=file))


def check_integrations(url: SecretStr, *, file: Path | None) -> Finding:
    """Checks that an integrations process is alive if accounts are configured in `file`."""
    return _asked(url, partial(_integrations, file=file))


def _asked(url: SecretStr, look: Callable[[Redis], Finding]) -> Finding:
    with open_redis(url) as redis:
        try:
            return look(redis)
        except StoreUnavailableError as error:
            return not_applicable(str(error))
        except exceptions.ResponseError as error:
            return not_applicable(f"cannot query Redis: {error}")


def _workers(redis: Redis) -> Finding:
    workers = live_workers(redis)
    if not workers:
        return warning("no worker is alive", expected="at least one worker", remedy=_START)
    found = "; ".join(map(_described, workers))
    sick = [worker for worker in workers if worker.unhealthy_reason]
    if not sick:
        return fine(found)
    problem = failed if len(sick) == len(workers) else warning
    return problem(
        found,
        expected="workers with working GPUs",
        remedy="nvidia-smi, sudo dmesg | grep -i xid; workers recover without a restart",
    )


def _controllers(redis: Redis) -> Finding:
    found = _present(redis, keys.controller)
    if not found:
        return warning(
            "no controller is alive",
            expected="at least one controller: new jobs wait for it",
            remedy=_START,
        )
    return fine(", ".join(found))


def _serving(redis: Redis) -> Finding:
    devices = InferenceWorkers(redis).devices()
    if not devices:
        return warning(
            "no serving process is alive",
            expected="at least one: without it, chat and /v1/chat/completions do not work",
            remedy="docker compose up -d --wait serve, or `flant5 up`",
        )
    return fine(
        "; ".join(
            f"{server.rpartition(':')[0]} ({device or 'older version'})"
            for server, device in devices.items()
        )
    )


def _webhooks(redis: Redis, *, file: Path | None) -> Finding:
    waiting = count_webhooks(redis).num_waiting
    if file is None and not waiting:
        return not_applicable("no endpoints are configured (docs/webhooks.md)")
    ends = f"; pending webhooks: {sum(waiting.values())}" if any(waiting.values()) else ""
    if senders := _present(redis, keys.webhook_sender):
        return fine(f"{', '.join(senders)} sends to {', '.join(waiting) or 'no endpoint'}{ends}")
    named = ", ".join(waiting) or str(file)
    return warning(
        f"endpoints are configured ({named}), but no webhook process is alive{ends}",
        expected="a running webhook process",
        remedy="docker compose --profile webhooks up -d --wait webhooks, or `flant5 up`; to "
        "disable webhooks, start it once with an empty file",
    )


def _integrations(redis: Redis, *, file: Path | None) -> Finding:
    types, num_waiting = published_types(redis), count_exports(redis).num_waiting
    if file is None and not types and not num_waiting:
        return not_applicable("no integrations are configured (docs/integrations.md)")
    runs = f"; pending exports: {num_waiting}" if num_waiting else ""
    if schedulers := _present(redis, keys.integrations_process):
        return fine(f"{', '.join(schedulers)} exports to {', '.join(types) or 'no tracker'}{runs}")
    return warning(
        f"integrations are configured ({', '.join(types) or file}), but no integrations process "
        f"is alive{runs}",
        expected="a running integrations process; until then, exports of jobs are queued",
        remedy="docker compose --profile integrations up -d --wait integrations, or `flant5 up`; "
        "to disable integrations, start it once with an empty file",
    )


def _present(redis: Redis, key_of: Callable[[str], str]) -> list[str]:
    """Returns the names of the live processes of a kind."""
    with translate_redis_errors():
        found = sorted(set(redis.scan_iter(match=key_of("*"), count=1000)))
    return [key.removeprefix(key_of("")) for key in found]


def _described(worker: WorkerState) -> str:
    kind = "GPU" if not worker.devices[0].startswith("cpu-") else "CPU slot"
    number = f"{worker.num_slots} {kind}{'' if worker.num_slots == 1 else 's'}"
    if worker.unhealthy_reason:
        return f"{worker.name} ({number}) accepts no jobs: {worker.unhealthy_reason}"
    return f"{worker.name} ({number}, {worker.job_id or 'idle'})"
