"""Dependencies of an attempt, built once per worker process and passed down."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from worker.failures.diagnosis import OomCounter
from worker.jobs.storage.files import FileStore
from worker.jobs.store.models import ModelCatalog
from worker.jobs.store.notify import JobNotifier
from worker.jobs.store.redis import open_redis
from worker.jobs.store.store import JobStore
from worker.jobs.store.workers import WorkerRegistry
from worker.processes.trainer_process import TrainerArgv
from worker.settings import WorkerSettings, inherited_environment
from worker.slots.gpu_health import ProbeArgv, probe_argv_of
from worker.slots.slot import Slot, SlotLocks, slots_of


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """The worker's connections and settings."""

    settings: WorkerSettings
    store: JobStore
    files: FileStore
    catalog: ModelCatalog
    registry: WorkerRegistry
    slots: tuple[Slot, ...]
    slot_locks: SlotLocks
    probe_argv: ProbeArgv
    oom_counter: OomCounter
    trainer_argv: TrainerArgv
    notifier: JobNotifier
    is_stopping: Callable[[], bool]
    """Returns True once a shutdown was requested."""
    machine: str
    """The boot id of this host."""


def open_context(
    settings: WorkerSettings, *, trainer_argv: TrainerArgv, is_stopping: Callable[[], bool]
) -> WorkerContext:
    """Builds the context. Connections open on first use.

    Raises ValueError for invalid slots or an invalid probe command.
    """
    home = settings.home_directories
    machine = _machine()
    redis = open_redis(settings.redis_url, timeout_seconds=settings.redis_timeout_seconds)
    store = JobStore(redis, settings.queue_policy)
    return WorkerContext(
        settings=settings,
        store=store,
        files=FileStore(home, settings.data_root),
        catalog=ModelCatalog(settings, store),
        registry=WorkerRegistry(store.scripts),
        slots=slots_of(
            settings.slots, worker_name=settings.worker_name, environment=inherited_environment()
        ),
        slot_locks=SlotLocks(home.slots / machine, worker_name=settings.worker_name),
        probe_argv=probe_argv_of(settings.probe_command),
        oom_counter=OomCounter(),
        trainer_argv=trainer_argv,
        notifier=JobNotifier(settings.redis_url),
        is_stopping=is_stopping,
        machine=machine,
    )


def _machine() -> str:
    """Returns the boot id. Containers of one host share it, but not their host names."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
