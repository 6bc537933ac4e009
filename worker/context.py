"""What an attempt works with: put together once per worker process, handed down from there."""

from collections.abc import Callable
from dataclasses import dataclass

from worker.jobs.connection import open_redis
from worker.jobs.files import FileStore
from worker.jobs.models import ModelCatalog
from worker.jobs.store import JobStore
from worker.launch import TrainerArgv
from worker.settings import WorkerSettings


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """The worker's connections and settings."""

    settings: WorkerSettings
    store: JobStore
    files: FileStore
    catalog: ModelCatalog
    trainer_argv: TrainerArgv
    is_stopping: Callable[[], bool]
    """Whether the worker was told to stop."""


def open_context(
    settings: WorkerSettings, *, trainer_argv: TrainerArgv, is_stopping: Callable[[], bool]
) -> WorkerContext:
    """Nothing is connected yet: that happens at the first call."""
    redis = open_redis(settings.redis_url, timeout_seconds=settings.redis_timeout_seconds)
    store = JobStore(redis, settings.rules)
    return WorkerContext(
        settings=settings,
        store=store,
        files=FileStore(settings.home_directories, settings.data_root),
        catalog=ModelCatalog(settings, store),
        trainer_argv=trainer_argv,
        is_stopping=is_stopping,
    )
