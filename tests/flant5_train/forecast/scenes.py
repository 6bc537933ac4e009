"""Questions to forecast, on the examples."""

from pathlib import Path
from typing import Any

from flant5_train.config import Hyperparameters
from flant5_train.protocol.forecast import ForecastRequest
from tests.flant5_train.conftest import EXAMPLES


def question(directory: Path, *, model: str | Path, **settings: Any) -> ForecastRequest:
    """A job on the examples; `directory` holds cache and models."""
    given = {"training_file": EXAMPLES, "validation_file": None, "seed": 42, "gpu_bytes": None}
    given |= {name: settings.pop(name) for name in given.keys() & settings.keys()}
    return ForecastRequest(
        model=str(model),
        models_directory=directory / "models",
        cache_directory=directory / "cache",
        hyperparameters=Hyperparameters(**settings),
        **given,
    )
