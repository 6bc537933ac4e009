"""What a form becomes when it is sent."""

from api.dashboard.new_job.page import FIELDS, prefill
from api.schemas.jobs import CreateJob

FILE = {"model": "flant5-demo", "training_file": "file-1"}


def test_a_form_is_the_request_that_a_caller_would_send() -> None:
    request = prefill(
        {**FILE, "num_gpus": 2, "wandb_project": "chats", "huggingface_repository": "a/b"}
    )
    assert request == CreateJob.model_validate(
        {
            **FILE,
            "method": {"type": "supervised", "supervised": {"hyperparameters": {"num_gpus": 2}}},
            "integrations": [
                {"type": "wandb", "wandb": {"project": "chats"}},
                {"type": "huggingface", "huggingface": {"repository": "a/b"}},
            ],
        }
    )


def test_what_is_wrong_with_a_form_is_said_with_the_name_of_the_field() -> None:
    said = prefill({**FILE, "huggingface_repository": "no-namespace"})
    assert isinstance(said, str)
    assert said.startswith("integrations.0.huggingface.repository: ")
    assert prefill({"model": "flant5-demo"}) is None


def test_each_field_of_a_form_has_a_help() -> None:
    assert [name for name, field in FIELDS.items() if not field.help] == []
