"""Computes the forecast of a job from its files, model and settings."""

from dataclasses import dataclass

from flant5_train.batching.plan import RunPlan
from flant5_train.config import DEMO_MODEL, Hyperparameters
from flant5_train.data.errors import DataError
from flant5_train.estimates.checkpoint import num_numbers
from flant5_train.estimates.flops import training_flops
from flant5_train.estimates.memory import num_weights
from flant5_train.estimates.slow_bfloat16 import slow_bfloat16
from flant5_train.file_report.token_counts import TokenCounter, counter_for
from flant5_train.forecast.batches import PlannedRun, memory_forecast, setup_of
from flant5_train.forecast.data import Pairs, Survey, Surveyor, all_pairs, split_pairs
from flant5_train.forecast.model import Base, UnknownSizesError, disk_forecast, trained_shapes
from flant5_train.protocol.auto import Choice
from flant5_train.protocol.demo_model import demo_directory
from flant5_train.protocol.forecast import (
    ChosenForecast,
    DataForecast,
    Forecast,
    ModelForecast,
    Question,
)


def forecast(question: Question) -> Forecast:
    """Returns the forecast of a job. Raises DataError if a file can't be opened."""
    settings = question.hyperparameters
    model = _model_of(question)
    counter = counter_for(model, settings.tokenization)
    data = _data_of(question, counter)
    run = None
    if data.obstacle is None:
        run = PlannedRun.of(data.training.lengths, settings, seed=question.seed)
    base, model_note = _base_of(question, model, counter)
    return Forecast(
        data=DataForecast(
            counted=counter.counted,
            note=counter.note,
            training=data.training.forecast(),
            validation=data.validation.forecast() if data.validation else None,
        ),
        obstacle=data.obstacle,
        batches=run and run.forecast(),
        model=base and _model_forecast(base, run, question),
        model_note=model_note,
        memory=(
            memory_forecast(setup_of(base, run, settings), gpu_bytes=question.gpu_bytes)
            if base and run
            else None
        ),
        disk=(
            disk_forecast(base, settings, num_steps=run.plan.num_steps) if base and run else None
        ),
        slow_bf16=slow_bfloat16() if settings.bf16 and question.is_on_cpu else None,
        chosen=run and _chosen(run.plan, base, settings),
    )


def _model_of(question: Question) -> str:
    """Returns the model to count with. For the demo model, this is its directory if an earlier job
    built it for this file: its vocabulary is then known."""
    if question.model != DEMO_MODEL:
        return question.model
    try:
        built = demo_directory(question.training_file, question.models_directory)
    except OSError as error:
        name = question.training_file.name
        raise DataError(f"{name}: can't be read: {error.strerror}") from error
    return str(built) if built.is_dir() else DEMO_MODEL


@dataclass(frozen=True, slots=True)
class _Data:
    training: Pairs
    validation: Pairs | None
    obstacle: str | None


def _data_of(question: Question, counter: TokenCounter) -> _Data:
    settings = question.hyperparameters
    surveyor = Surveyor(
        counter,
        settings.tokenization,
        settings.on_bad_record,
        question.cache_directory,
        settings.on_missing_question,
    )
    training = surveyor.survey(question.training_file)
    everything = all_pairs(training, settings)
    obstacle = _obstacle("training_file", training)
    if question.validation_file is not None:
        validation = surveyor.survey(question.validation_file)
        obstacle = obstacle or _obstacle("validation_file", validation)
        return _Data(everything, all_pairs(validation, settings), obstacle)
    if obstacle is None and settings.validation_split > 0:
        try:
            return _Data(*split_pairs(training, settings, seed=question.seed), None)
        except DataError as error:
            obstacle = str(error)
    return _Data(everything, None, obstacle)


def _obstacle(name: str, survey: Survey) -> str | None:
    """Returns the reason why a job would refuse the file, or None."""
    report = survey.report
    if report.is_trainable:
        return None
    if not report.is_read_to_end:
        return f"{name}: can't be read to the end"
    if report.pairs:
        number = report.problems.num_records
        return f"{name}: {number} malformed record{'' if number == 1 else 's'}"
    return f"{name}: contains no pair of a question and an answer"


def _base_of(
    question: Question, model: str, counter: TokenCounter
) -> tuple[Base | None, str | None]:
    tokenization = question.hyperparameters.tokenization
    try:
        return Base.of(model, tokenization, num_tokens=counter.num_tokens), None
    except UnknownSizesError as error:
        return None, str(error)


def _chosen(plan: RunPlan, base: Base | None, settings: Hyperparameters) -> ChosenForecast | None:
    choice = Choice.of(
        plan,
        learning_rate=settings.learning_rate,
        num_weights=None if base is None else num_weights(base.shape),
    )
    if (message := choice.sentence()) is None:
        return None
    return ChosenForecast(
        num_train_epochs=choice.num_train_epochs,
        learning_rate=choice.learning_rate,
        message=message,
    )


def _model_forecast(base: Base, run: PlannedRun | None, question: Question) -> ModelForecast:
    return ModelForecast(
        sizes_from=base.sizes_from,
        num_weights=num_weights(base.shape),
        num_trained=num_numbers(trained_shapes(base, question.hyperparameters)),
        flops=None if run is None else training_flops(base.shape, run.work),
    )
