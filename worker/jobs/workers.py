"""The workers that are here: what they have, and whether they take jobs."""

from dataclasses import dataclass
from typing import cast

from redis import Redis

from worker.jobs import keys
from worker.jobs.connection import unavailable
from worker.jobs.scripts import Scripts

CPU_SLOT = "cpu-"
"""How the names of slots begin that are no GPUs."""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker as the others see it."""

    name: str
    devices: tuple[str, ...]
    """Its slots: GPUs by index or UUID, or CPU slots."""
    sick: str | None = None
    """Why it takes no jobs; None when it does."""
    job_id: str | None = None
    """The job it holds."""
    machine: str = ""
    """The boot of the host that it runs on; '' of one that does not tell."""
    gpu_bytes: int | None = None
    """Memory of its smallest GPU; None without a GPU, or where nvidia-smi does not tell."""

    @property
    def has_gpus(self) -> bool:
        """Whether its slots are GPUs, and not processors."""
        return not any(device.startswith(CPU_SLOT) for device in self.devices)

    @property
    def num_slots(self) -> int:
        return len(self.devices)


class WorkerRegistry:
    """Every method raises StoreUnavailableError when Redis does not answer."""

    def __init__(self, scripts: Scripts) -> None:
        self._redis = scripts.redis
        self._scripts = scripts

    def appear(self, worker: WorkerState, *, seconds: float) -> None:
        """The worker is here, and counts as gone after so many seconds unless it says so again.
        Its health stays as it is."""
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
        self._scripts.run("appear", *args)

    def set_health(self, name: str, sick: str | None) -> None:
        """Whether the worker takes jobs; `sick` says why not."""
        with unavailable():
            if sick is None:
                self._redis.hdel(keys.worker(name), "sick")
            else:
                self._redis.hset(keys.worker(name), "sick", sick)

    def leave(self, name: str) -> None:
        with unavailable():
            self._redis.zrem(keys.WORKERS, name)
            self._redis.delete(keys.worker(name))

    def all(self) -> tuple[WorkerState, ...]:
        """The workers that are here, by name."""
        return workers_here(self._redis)


def workers_here(redis: Redis) -> tuple[WorkerState, ...]:
    """The workers that are here, by name. Raises StoreUnavailableError."""
    with unavailable():
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
    # The hash of a worker that is gone has expired; a sick one's may hold that alone.
    return tuple(
        WorkerState(
            name=name,
            devices=tuple(fields["devices"].split(",")),
            sick=fields.get("sick"),
            job_id=held.get(name),
            machine=fields.get("machine", ""),
            gpu_bytes=int(fields["gpu_bytes"]) if fields.get("gpu_bytes") else None,
        )
        for name, fields in sorted(found, key=lambda item: item[0])
        if "devices" in fields
    )
