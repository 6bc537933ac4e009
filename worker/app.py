"""The Celery app of the worker: one task, run by one pool process at a time.

Celery delivers wake-ups and restarts a pool process that died. Everything that must not be lost is
in `worker.jobs.store.store`. Each setting prevents the failure named beside it.
"""

import logging

from celery import Celery, signals

from worker.context import WorkerContext
from worker.execution.records import keep_ends
from worker.execution.runner import run_job
from worker.jobs.errors import StoreUnavailableError
from worker.jobs.store.notify import TASK, celery_app
from worker.jobs.store.redis import Scripts, open_redis
from worker.jobs.store.workers import WorkerRegistry, WorkerState
from worker.presence import Presence, ShutdownFlag, presence_step
from worker.slots.gpu_health import smallest_gpu

logger = logging.getLogger(__name__)


def create_app(context: WorkerContext, shutdown_flag: ShutdownFlag) -> Celery:
    """Returns the app with its task registered and its signals connected.

    Call it in the main process: pool processes inherit the stop flag.
    """
    app = celery_app("flant5", context.settings.redis_url, socket_timeout_seconds=5)
    app.conf.update(
        # Late acknowledgement starts a second copy of a running job (celery#5935). It also hangs
        # the worker when Redis is killed.
        task_acks_late=False,
        # Without this, a wake-up waits in a busy worker while another worker is idle.
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_pool="prefork",
        worker_concurrency=1,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )

    @app.task(name=TASK, shared=False, lazy=False)  # type: ignore[untyped-decorator]
    def handle_notification(job_id: str) -> None:
        run_job(job_id, context)

    def stop(**_: object) -> None:
        shutdown_flag.set()

    def give_back(exception: object, args: list[str], **_: object) -> None:
        _give_back(context, args[0], exception)

    signals.worker_shutting_down.connect(stop, weak=False)
    signals.task_failure.connect(give_back, sender=handle_notification, weak=False)
    return app


def run_worker(context: WorkerContext, shutdown_flag: ShutdownFlag) -> None:
    """Runs until a stop is requested and the current job is saved and released."""
    _release_own_jobs(context)
    app = create_app(context, shutdown_flag)
    settings = context.settings
    with open_redis(settings.redis_url, timeout_seconds=settings.redis_timeout_seconds) as redis:
        devices = tuple(slot.name for slot in context.slots)
        state = WorkerState(
            name=settings.worker_name,
            devices=devices,
            machine=context.machine,
            gpu_bytes=smallest_gpu(context.slots),
        )
        presence = Presence(
            WorkerRegistry(Scripts(redis, settings.queue_policy)),
            state,
            seconds=settings.worker_ttl_seconds,
        )
        app.steps["consumer"].add(
            presence_step(presence.heartbeat, seconds=presence.interval_seconds)
        )
        try:
            app.worker_main(
                [
                    "--quiet",  # no banner
                    "worker",
                    *("--hostname", f"{settings.worker_name}@flant5"),
                    *("--loglevel", "INFO"),
                    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
                ]
            )
        finally:
            presence.deregister()


def _release_own_jobs(context: WorkerContext) -> None:
    """Releases jobs that this worker held when it was killed, before their leases expire."""
    try:
        released = context.store.leases.release_worker(context.settings.worker_name)
        keep_ends(context.store, context.settings.home_directories, released)
    except StoreUnavailableError as error:
        logger.warning("cannot release jobs of an earlier run; their leases expire: %s", error)
    else:
        logger.info("released jobs of an earlier run: %s", ", ".join(released) or "none")


def _give_back(context: WorkerContext, job_id: str, error: object) -> None:
    """Releases the job at once instead of waiting for its lease to expire.

    Called in the main process when the pool process died, and in the pool process when the attempt
    failed because of a bug.
    """
    try:
        released = context.store.leases.release_worker(
            context.settings.worker_name, reason=f"its worker failed: {error}", only=job_id
        )
        keep_ends(context.store, context.settings.home_directories, released)
    except StoreUnavailableError as unavailable:
        logger.warning("job %s: cannot release it; its lease expires: %s", job_id, unavailable)
