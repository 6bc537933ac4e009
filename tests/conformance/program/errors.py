"""Errors are typed exceptions of the SDK that a person can read."""

from collections.abc import Callable
from typing import Any

import openai

from tests.conformance.program.context import TALKS, Context, submit, talks
from tests.conformance.program.refusals import refused


def a_bad_request_names_the_field(context: Context) -> None:
    with context.client() as client:
        file = talks(client)
        method = {"type": "supervised", "supervised": {"hyperparameters": {"learning_rat": 1}}}
        faults: dict[str, tuple[dict[str, Any], str]] = {
            "method.supervised.hyperparameters.learning_rat": ({"method": method}, "learning_rate"),
            "seed": ({"extra_body": {"seed": "x"}}, "seed"),
            "metadata": ({"metadata": {"k": "v" * 600}}, "metadata"),
            "suffix": ({"suffix": "s" * 65}, "suffix"),
            "model": ({"model": "gpt-4o-mini"}, "gpt-4o-mini"),
        }
        for param, (fields, says) in faults.items():
            with refused(openai.BadRequestError, says=says, code="invalid_value") as refusal:
                submit(client, file, **fields)
            found = refusal.error
            assert str(found.param).startswith(param), f"{found.param} of {found}"


def what_is_not_there_is_not_found(context: Context) -> None:
    with context.client() as client:
        jobs = client.fine_tuning.jobs
        calls: list[Callable[[], object]] = [
            lambda: jobs.retrieve("ftjob-none"),
            lambda: jobs.cancel("ftjob-none"),
            lambda: jobs.pause("ftjob-none"),
            lambda: jobs.resume("ftjob-none"),
            lambda: jobs.list_events("ftjob-none"),
            lambda: jobs.checkpoints.list("ftjob-none"),
            lambda: client.files.retrieve("file-none"),
            lambda: client.uploads.cancel("upload_none"),
            lambda: client.models.retrieve("ft:none"),
        ]
        for call in calls:
            with refused(openai.NotFoundError, says="none", code="not_found"):
                call()


def a_wrong_key_and_one_that_may_only_read_are_told_apart(context: Context) -> None:
    stranger = openai.OpenAI(base_url=context.url, api_key="wrong")
    with stranger, refused(openai.AuthenticationError, says="key", code="invalid_api_key"):
        stranger.models.list()
    with context.client("reads") as reader:
        assert list(reader.files.list()) == []
        with refused(openai.PermissionDeniedError, says="submit", code="insufficient_scope"):
            talks(reader)


def what_is_another_owners_is_not_found(context: Context) -> None:
    with context.client() as owner, context.client("limited") as other:
        file = talks(owner)
        jobs = other.fine_tuning.jobs
        calls: list[Callable[[], object]] = [
            lambda: other.files.retrieve(file),
            lambda: other.files.content(file),
            lambda: other.files.delete(file),
            lambda: jobs.retrieve(context.trained),
            lambda: jobs.cancel(context.trained),
            lambda: jobs.list_events(context.trained),
            lambda: jobs.checkpoints.list(context.trained),
        ]
        for call in calls:
            with refused(openai.NotFoundError, code="not_found"):
                call()
        assert file not in [each.id for each in other.files.list()]
        assert context.trained not in [each.id for each in jobs.list()]


def a_file_over_the_limit_is_refused(context: Context) -> None:
    with context.client(max_retries=0) as client:
        before = [file.id for file in client.files.list()]
        # A little over the limit is seen when the form has been read, much more before that. The
        # SDK has no class of its own for 413.
        with refused(openai.BadRequestError, says="larger than", code="invalid_value"):
            client.files.create(file=("big.json", b"x" * (2**20 + 1)), purpose="fine-tune")
        with refused(openai.APIStatusError, says="larger than", code="too_large") as refusal:
            client.files.create(file=("big.json", b"x" * 2**23), purpose="fine-tune")
        assert refusal.error.status_code == 413
        assert [file.id for file in client.files.list()] == before


def a_full_queue_is_told_once(context: Context) -> None:
    """Not three times: another try can't cure it, and the answer says so."""
    with context.client("limited") as client:
        file = talks(client)
        waiting: list[str] = []
        for _ in range(context.max_waiting):
            waiting.append(submit(client, file).id)
            client.fine_tuning.jobs.pause(waiting[-1])
        with refused(openai.RateLimitError, says="queued jobs", code="queue_limit") as refusal:
            submit(client, file)
        response = refusal.error.response
        assert response.headers["x-should-retry"] == "false"
        assert response.request.headers["x-stainless-retry-count"] == "0"
        for job_id in waiting:
            client.fine_tuning.jobs.cancel(job_id)


def a_file_that_is_no_conversation_fails_the_job_with_its_place(context: Context) -> None:
    with context.client() as client:
        file = client.files.create(file=("cut.json", TALKS[:-20]), purpose="fine-tune")
        job = context.wait_for_end(submit(client, file.id).id)
    assert job.status == "failed"
    assert (job.error.code, job.error.param) == ("bad_data", "training_file")
    assert "cut.json: record 8" in job.error.message
