from pathlib import Path
from typing import Any

import pytest

from flant5_train.protocol.progress import Evaluated, SampleAnswers
from flant5_train.training.evaluation import MAX_SHOWN_CHARACTERS, NUM_SHOWN
from tests.flant5_train.here import run_here
from tests.flant5_train.runs import Run, some_examples


@pytest.fixture
def settings(tiny_model: Path, tmp_path: Path) -> dict[str, Any]:
    return {
        "model_name_or_path": tiny_model,
        "data_path": some_examples(tmp_path / "talks.json", 30),
        "validation_split": 0.2,
        "max_steps": 4,
        "eval_steps": 2,
        "per_device_eval_batch_size": 4,
    }


def answers(finished: Run) -> list[SampleAnswers]:
    return [record for record in finished.records() if isinstance(record, SampleAnswers)]


def test_each_evaluation_asks_the_same_questions_and_shows_a_few_answers(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = run_here(monkeypatch, tmp_path / "out", eval_generation_samples=6, **settings)
    assert finished.exit_code == 0, finished.log
    first, second = answers(finished)
    assert (first.step, second.step, first.num_answers) == (2, 4, 6)
    assert len(first.answers) == NUM_SHOWN
    for one, other in zip(first.answers, second.answers, strict=True):
        assert (one.question, one.expected) == (other.question, other.expected)
        assert one.question.endswith("### Assistant: ")
        for text in (one.question, one.expected, one.given):
            assert len(text) <= MAX_SHOWN_CHARACTERS + 1
    evaluated = [record for record in finished.records() if isinstance(record, Evaluated)]
    for record in evaluated:
        assert record.eval_exact_match == 0
        assert record.eval_rouge_l is not None
        assert 0 <= record.eval_rouge_l < 0.5


def test_asking_changes_nothing_about_the_training(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = run_here(monkeypatch, tmp_path / "silent", **settings)
    asked = run_here(monkeypatch, tmp_path / "asked", eval_generation_samples=3, **settings)
    assert answers(silent) == []
    assert silent.weights() == asked.weights()
    (last,) = [r for r in silent.records() if isinstance(r, Evaluated) and r.step == 4]
    assert last.eval_exact_match is None


def test_a_model_that_knows_its_answers_by_heart_matches_them_exactly(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    talks = tmp_path / "talks.json"
    talks.write_text(
        '[{"conversations": [{"from": "human", "value": "Say yes."},'
        ' {"from": "gpt", "value": "Yes, of course."}]}]'
    )
    finished = run_here(
        monkeypatch,
        tmp_path / "out",
        model_name_or_path=tiny_model,
        data_path=talks,
        validation_file=talks,
        max_steps=60,
        learning_rate=0.02,
        eval_steps=60,
        eval_generation_samples=5,
    )
    (evaluated,) = [record for record in finished.records() if isinstance(record, Evaluated)]
    assert (evaluated.eval_exact_match, evaluated.eval_rouge_l) == (1, 1)
    (told,) = answers(finished)
    assert told.num_answers == 1
    assert told.answers[0].given.strip() == told.answers[0].expected.strip() == "Yes, of course."
