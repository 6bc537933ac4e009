from pathlib import Path

import pytest

from flant5_train.protocol.failure import FailureCode
from tests.flant5_train.here import run_here
from tests.flant5_train.runs import some_examples


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("load_best_model_at_end", True),
        ("early_stopping_patience", 3),
        ("eval_generation_samples", 8),
        ("eval_strategy", "epoch"),
        ("do_eval", True),
        ("eval_delay", 3.0),
    ],
)
def test_a_setting_that_needs_evaluations_is_refused_without_validation_pairs(
    name: str, value: object, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = run_here(
        monkeypatch,
        tmp_path / "out",
        model_name_or_path=tiny_model,
        data_path=some_examples(tmp_path / "talks.json", 4),
        **{name: value},
    )
    failure = finished.failure()
    assert failure is not None, finished.log
    assert (failure.code, failure.param) == (FailureCode.BAD_CONFIG, name)
    assert f"{name} is {value}, but there is nothing to evaluate on" in failure.message


def test_validation_pairs_that_are_not_to_be_evaluated_are_refused(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = run_here(
        monkeypatch,
        tmp_path / "out",
        model_name_or_path=tiny_model,
        data_path=some_examples(tmp_path / "talks.json", 4),
        validation_split=0.5,
        eval_strategy="no",
    )
    failure = finished.failure()
    assert failure is not None, finished.log
    assert (failure.code, failure.param) == (FailureCode.BAD_CONFIG, "eval_strategy")
