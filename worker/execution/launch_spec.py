"""Launch of a trainer on one node: run configuration, command and environment.

The run configuration holds local paths, to which file and model names of the job are resolved.
"""

from collections.abc import Callable
from typing import TypeVar

from flant5_train.config import RunConfig
from flant5_train.protocol.failure import FailureCode
from worker.context import WorkerContext
from worker.jobs.errors import InvalidRequestError, NotFoundError
from worker.jobs.job import Job, JobError
from worker.jobs.storage.paths import RunDirectory
from worker.processes.environment_policy import named_environment
from worker.processes.trainer_process import (
    NODE_MARK,
    ONE_NODE_ENVIRONMENT,
    NodeSpec,
    TrainerCommand,
    node_mark,
    trainer_environment,
)
from worker.settings import inherited_environment
from worker.slots.slot import HeldSlots

Found = TypeVar("Found")


class MissingInputError(Exception):
    """A file or model of the job was deleted after the job was accepted."""

    def __init__(self, error: JobError) -> None:
        super().__init__(error.message)
        self.error = error


def run_config_of(job: Job, context: WorkerContext) -> RunConfig:
    """Returns the run configuration of a job.

    Raises MissingInputError, and StoreUnavailableError for a model that a job produced.
    """
    spec, home = job.spec, context.settings.home_directories
    files, catalog = context.files, context.catalog
    validation_file = None
    if spec.validation_file is not None:
        validation_file = _resolved("validation_file", files.resolve, spec.validation_file)
    return RunConfig(
        model_name_or_path=_resolved("model", catalog.resolve, spec.model),
        data_path=_resolved("training_file", files.resolve, spec.training_file),
        validation_file=validation_file,
        run_directory=home.run_directory(job.id).path,
        cache_directory=home.cache,
        models_directory=home.models,
        seed=spec.seed,
        # Keeps automatic values of an earlier attempt, even if the rules have changed.
        hyperparameters=job.hyperparameters,
    )


def _resolved(param: str, resolve: Callable[[str], Found], name: str) -> Found:
    try:
        return resolve(name)
    except (NotFoundError, InvalidRequestError) as error:
        code = FailureCode.BAD_MODEL if param == "model" else FailureCode.BAD_DATA
        raise MissingInputError(
            JobError(code=code.value, message=str(error), param=param)
        ) from error


SPARE_SECONDS = 2.0
"""Seconds that the supervisor waits longer than torchrun. Without this, torchrun would be killed
before it reports why it exits."""


def trainer_command(
    node: NodeSpec, slots: HeldSlots, context: WorkerContext, *, run_directory: RunDirectory
) -> TrainerCommand:
    """Returns the trainer command of this node. Its ranks share the locks of the run and slots."""
    grace = context.settings.trainer_grace_seconds
    inherited = inherited_environment()
    environment = named_environment(inherited, context.settings.trainer_environment_names)
    environment |= trainer_environment(
        inherited,
        num_processes=node.num_processes,
        run_directory=run_directory,
        held_locks=(run_directory.lock, *slots.paths),
        visible_devices=slots.visible_devices,
    )
    environment |= context.settings.hub_environment
    if node.rendezvous is None:
        environment = ONE_NODE_ENVIRONMENT | environment
    else:
        environment[NODE_MARK] = node_mark(run_directory, context.settings.worker_name)
    return TrainerCommand(
        argv=context.trainer_argv(run_directory.run_config, node, grace),
        environment=environment,
        log=run_directory.log,
        grace_seconds=grace + SPARE_SECONDS,
        max_log_bytes=context.settings.train_log_bytes,
    )
