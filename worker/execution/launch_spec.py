"""Builds the trainer's run configuration: resolves file and model names to local paths."""

from collections.abc import Callable
from typing import TypeVar

from flant5_train.config import RunConfig
from flant5_train.protocol.failure import FailureCode
from worker.context import WorkerContext
from worker.jobs.errors import InvalidRequestError, NotFoundError
from worker.jobs.job import Job, JobError

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
