"""`python -m worker`: runs jobs, one at a time, until SIGTERM."""

import logging
import os
import sys
import warnings

from celery.platforms import SecurityWarning
from pydantic import ValidationError

from worker.app import run_worker
from worker.context import WorkerContext, open_context
from worker.jobs.errors import StartRefusedError
from worker.jobs.logging import configure_logging
from worker.jobs.settings import settings_fault
from worker.jobs.startup.home_check import prepare_home
from worker.jobs.startup.start_check import wait_for_start
from worker.jobs.storage.lock import LockedError, take_lock
from worker.jobs.store.workers import WorkerState
from worker.presence import ShutdownFlag, check_worker_name_is_free
from worker.processes.trainer_process import TrainerArgv, torchrun_argv
from worker.settings import WorkerSettings, inherited_environment

logger = logging.getLogger(__name__)

LOCK_SECONDS = 5.0
"""Seconds to wait for the processes of a killed worker to exit."""


def main(trainer_argv: TrainerArgv = torchrun_argv) -> int:
    # Celery warns about running as root because of pickle. This app accepts JSON only.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    shutdown_flag = ShutdownFlag()
    try:
        settings = WorkerSettings()
        configure_logging(settings.log_format, process="worker")
        context = open_context(
            settings, trainer_argv=trainer_argv, is_stopping=shutdown_flag.is_set
        )
    except ValidationError as error:
        print(f"the worker's settings are wrong: {settings_fault(error)}", file=sys.stderr)  # noqa: T201
        return 2
    except ValueError as error:
        print(f"the worker's settings are wrong: {error}", file=sys.stderr)  # noqa: T201
        return 2
    _report_unset_variables(settings)
    try:
        # First: otherwise a full disk would fail an attempt.
        prepare_home(settings.home_directories, writer="worker")
        wait_for_start(
            settings.redis_url,
            settings.home_directories,
            use="worker",
            may_lose_data=settings.allow_lossy_redis,
        )
    except StartRefusedError as error:
        print(f"the worker can't run: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return _run(context, shutdown_flag)


def _run(context: WorkerContext, shutdown_flag: ShutdownFlag) -> int:
    """Runs as the only worker of its name."""
    settings = context.settings
    name = settings.worker_name
    lock_file = settings.home_directories.workers / f"{name}.lock"
    try:
        lock = take_lock(lock_file, patience_seconds=LOCK_SECONDS)
    except LockedError:
        print(  # noqa: T201
            f"a worker named {name!r} is already running ({lock_file} is locked); "
            "set FLANT5_WORKER_NAME to another name",
            file=sys.stderr,
        )
        return 1
    try:
        state = WorkerState(name=name, devices=(), machine=context.machine)
        check_worker_name_is_free(context.registry, state, seconds=settings.worker_ttl_seconds)
        run_worker(context, shutdown_flag)
    except StartRefusedError as error:
        print(f"the worker can't run: {error}", file=sys.stderr)  # noqa: T201
        return 2
    finally:
        os.close(lock)
    return 0


def _report_unset_variables(settings: WorkerSettings) -> None:
    names = settings.trainer_environment_names
    if unset := sorted(set(names) - inherited_environment().keys()):
        logger.warning("FLANT5_TRAINER_ENVIRONMENT: variables are not set: %s", unset)


if __name__ == "__main__":
    sys.exit(main())
