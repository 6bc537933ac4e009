"""Registry of the live workers: their slots, health and jobs."""

from dataclasses import dataclass
from typing import cast

from redis import Redis

from worker.jobs.store import keys
from worker.jobs.store.redis import Scripts, translate_redis_errors

CPU_SLOT = "cpu-"
"""Name prefix of CPU slots."""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """The registered state of a worker."""

    name: str
    devices: tuple[str, ...]
    """Its slots: GPUs by index or UUID, or CPU slots."""
    unhealthy_reason: str | None = None
    """The reason why it takes no jobs; None if it is healthy."""
    job_id: str | None = None
    """The job that it runs."""
    machine: str = ""
    """The boot id of its host; '' if it reports none."""
    gpu_bytes: int | None = None
    """Memory of its smallest GPU; None without a GPU, or if nvidia-smi does not report it."""

    @property
    def has_gpus(self) -> bool:
        """True if its slots are GPUs."""
        return not any(device.startswith(CPU_SLOT) for device in self.devices)

    @property
    def num_slots(self) -> int:
        return len(self.devices)


class WorkerRegistry:
    """The registry. Every method raises StoreUnavailableError when Redis does not answer."""

    def __init__(self, scripts: Scripts) -> None:
        self._redis = scripts.redis
        self._scripts = scripts

    def register(self, worker: WorkerState, *, seconds: float) -> None:
        """Registers a worker, or renews it: it expires after `seconds`. Its health is
        unchanged."""
        devices = ",".join(worker.devices)
        gpu_bytes = "" if worker.gpu_bytes is None else worker.gpu_bytes
        args = (
            worker.name,
            worker.num_slots,
            devices,
            int(seconds * 1000),
            gpu_bytes,
            worker.machine,
        )
        self._scripts.run("register_worker", *args)

    def set_health(self, name: str, sick: str | None) -> None:
        """Sets the reason why the worker takes no jobs; None if it is healthy."""
        with translate_redis_errors():
            if sick is None:
                self._redis.hdel(keys.worker(name), "sick")
            else:
                self._redis.hset(keys.worker(name), "sick", sick)

    def deregister(self, name: str) -> None:
        with translate_redis_errors():
            self._redis.zrem(keys.WORKERS, name)
            self._redis.delete(keys.worker(name))

    def all(self) -> tuple[WorkerState, ...]:
        """Returns the live workers, by name."""
        return live_workers(self._redis)


def live_workers(redis: Redis) -> tuple[WorkerState, ...]:
    """Returns the live workers, by name. Raises StoreUnavailableError."""
    with translate_redis_errors():
        names = cast(list[str], redis.zrange(keys.WORKERS, 0, -1))
        running = cast(list[str], redis.zrange(keys.RUNNING, 0, -1))
        with redis.pipeline(transaction=False) as pipeline:
            for job_id in running:
                pipeline.hget(keys.job(job_id), "worker")
                pipeline.zrange(keys.members(job_id), 0, -1)
            for name in names:
                pipeline.hgetall(keys.worker(name))
            answers = pipeline.execute()
    num_held = 2 * len(running)
    leaders, members = answers[:num_held:2], answers[1:num_held:2]
    held = dict(zip(leaders, running, strict=True))
    for job_id, others in zip(running, members, strict=True):
        held |= dict.fromkeys(others, job_id)
    found = zip(names, answers[num_held:], strict=True)
    # The hash of a dead worker has expired, except for a field `sick` that was set afterwards.
    return tuple(
        WorkerState(
            name=name,
            devices=tuple(fields["devices"].split(",")),
            unhealthy_reason=fields.get("sick"),
            job_id=held.get(name),
            machine=fields.get("machine", ""),
            gpu_bytes=int(fields["gpu_bytes"]) if fields.get("gpu_bytes") else None,
        )
        for name, fields in sorted(found, key=lambda item: item[0])
        if "devices" in fields
    )
