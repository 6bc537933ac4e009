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
from flant5_train.forecast.data import DataScan, FileScanner, ForecastPairs, all_pairs, split_pairs
from flant5_train.forecast.model import Base, UnknownSizesError, disk_forecast, trained_shapes
from flant5_train.protocol.auto import AutoChoice
from flant5_train.protocol.demo_model import demo_directory
from flant5_train.protocol.forecast import (
    ChosenForecast,
    DataForecast,
    Forecast,
    ForecastRequest,
    ModelForecast,
)


def forecast(forecast_request: ForecastRequest) -> Forecast:
    """Returns the forecast of a job. Raises DataError if a file can't be opened."""
    settings = forecast_request.hyperparameters
    model = _model_of(forecast_request)
    counter = counter_for(model, settings.tokenization)
    data = _data_of(forecast_request, counter)
    run = None
    if data.obstacle is None:
        run = PlannedRun.of(data.training.lengths, settings, seed=forecast_request.seed)
    base, model_note = _base_of(forecast_request, model, counter)
    return Forecast(
        data=DataForecast(
            counted=counter.counted,
            note=counter.note,
            training=data.training.forecast(),
            validation=data.validation.forecast() if data.validation else None,
        ),
        obstacle=data.obstacle,
        batches=run and run.forecast(),
        model=base and _model_forecast(base, run, forecast_request),
        model_note=model_note,
        memory=(
            memory_forecast(setup_of(base, run, settings), gpu_bytes=forecast_request.gpu_bytes)
            if base and run
            else None
        ),
        disk=(
            disk_forecast(base, settings, num_steps=run.plan.num_steps) if base and run else None
        ),
        slow_bf16=slow_bfloat16() if settings.bf16 and forecast_request.is_on_cpu else None,
        chosen=run and _chosen(run.plan, base, settings),
    )


def _model_of(forecast_request: ForecastRequest) -> str:
    """Returns the model to count with. For the demo model, this is its directory if an earlier job
    built it for this file: its vocabulary is then known."""
    if forecast_request.model != DEMO_MODEL:
        return forecast_request.model
    try:
        built = demo_directory(forecast_request.training_file, forecast_request.models_directory)
    except OSError as error:
        name = forecast_request.training_file.name
        raise DataError(f"{name}: can't be read: {error.strerror}") from error
    return str(built) if built.is_dir() else DEMO_MODEL


@dataclass(frozen=True, slots=True)
class _Data:
    training: ForecastPairs
    validation: ForecastPairs | None
    obstacle: str | None


def _data_of(forecast_request: ForecastRequest, counter: TokenCounter) -> _Data:
    settings = forecast_request.hyperparameters
    surveyor = FileScanner(
        counter,
        settings.tokenization,
        settings.on_bad_record,
        forecast_request.cache_directory,
        settings.on_missing_question,
    )
    training = surveyor.scan(forecast_request.training_file)
    everything = all_pairs(training, settings)
    obstacle = _obstacle("training_file", training)
    if forecast_request.validation_file is not None:
        validation = surveyor.scan(forecast_request.validation_file)
        obstacle = obstacle or _obstacle("validation_file", validation)
        return _Data(everything, all_pairs(validation, settings), obstacle)
    if obstacle is None and settings.validation_split > 0:
        try:
            return _Data(*split_pairs(training, settings, seed=forecast_request.seed), None)
        except DataError as error:
            obstacle = str(error)
    return _Data(everything, None, obstacle)


def _obstacle(name: str, survey: DataScan) -> str | None:
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
    forecast_request: ForecastRequest, model: str, counter: TokenCounter
) -> tuple[Base | None, str | None]:
    tokenization = forecast_request.hyperparameters.tokenization
    try:
        return Base.of(model, tokenization, num_tokens=counter.num_tokens), None
    except UnknownSizesError as error:
        return None, str(error)


def _chosen(plan: RunPlan, base: Base | None, settings: Hyperparameters) -> ChosenForecast | None:
    choice = AutoChoice.of(
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


def _model_forecast(
    base: Base, run: PlannedRun | None, forecast_request: ForecastRequest
) -> ModelForecast:
    return ModelForecast(
        sizes_from=base.sizes_from,
        num_weights=num_weights(base.shape),
        num_trained=num_numbers(trained_shapes(base, forecast_request.hyperparameters)),
        flops=None if run is None else training_flops(base.shape, run.work),
    )
