import pytest

from flant5_train.protocol.progress import (
    AutoChosen,
    BestChosen,
    DataRead,
    Record,
    SampleAnswer,
    SampleAnswers,
    StoppedEarly,
    WarningIssued,
)
from worker.execution.progress import event_from_record, latest_chosen
from worker.jobs.job import Chosen

ANSWERS = (SampleAnswer(question="2 + 2?", expected="4", given="5"),)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (
            SampleAnswers(step=30, num_answers=64, answers=ANSWERS),
            "Step 30: 1 of 64 sample answers recorded",
        ),
        (
            StoppedEarly(step=90, patience=3, best_step=60, best_eval_loss=1.234),
            "Stopped early at step 90: the validation loss has not improved for 3 evaluations"
            " (best: 1.23 at step 60)",
        ),
        (
            DataRead(split="train", report={"pairs": 3, "warnings": {"unknown field": 2, "x": 1}}),
            "The train conversations are encoded; warnings: 2 x unknown field, 1 x x",
        ),
        (
            DataRead(split="validation", report={"pairs": 3, "warnings": {}}),
            "The validation conversations are encoded",
        ),
        (
            BestChosen(step=60, eval_loss=1.234),
            "Selected the checkpoint of step 60 as the model: lowest validation loss (1.23)",
        ),
    ],
)
def test_what_evaluations_decide_is_told_in_a_sentence(record: Record, message: str) -> None:
    event = event_from_record(record)
    assert (event.type, event.message, event.at) == ("message", message, record.at)


def test_the_answers_of_an_evaluation_are_in_its_event() -> None:
    event = event_from_record(SampleAnswers(step=30, num_answers=64, answers=ANSWERS))
    assert event.data == {
        "step": 30,
        "num_answers": 64,
        "answers": [{"question": "2 + 2?", "expected": "4", "given": "5"}],
    }


def test_a_warning_of_the_trainer_is_an_event_of_that_level() -> None:
    event = event_from_record(WarningIssued(param="bf16", message="bf16 is slow here"))
    assert (event.level, event.message) == ("warn", "bf16 is slow here")
    assert event.data == {"param": "bf16", "message": "bf16 is slow here"}


def test_the_automatic_hyperparameters_are_an_event_and_values_of_the_job() -> None:
    message = "auto: 20 epochs, 200 steps, because an epoch has 10 steps"
    record = AutoChosen(num_train_epochs=20, message=message)
    assert (event_from_record(record).level, event_from_record(record).message) == ("info", message)
    assert latest_chosen([record]) == Chosen(num_train_epochs=20)
    assert latest_chosen([WarningIssued(message="slow")]) is None
