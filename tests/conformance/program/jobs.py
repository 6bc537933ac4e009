"""Jobs that wait, and lists of them."""

import openai

from tests.conformance.program.complete import all_of, complete
from tests.conformance.program.context import Context, submit, talks
from tests.conformance.program.refusals import refused


def a_job_comes_back_as_it_was_submitted(context: Context) -> None:
    with context.client() as client:
        file = talks(client)
        job = submit(
            client, file, validation_file=file, suffix="fits", seed=7, metadata={"team": "a/b c&d"}
        )
        again = complete(client.fine_tuning.jobs.retrieve(job.id), of="FineTuningJob")
        assert complete(job, of="FineTuningJob").id == again.id
        assert (again.model, again.seed, again.metadata) == ("flant5-demo", 7, {"team": "a/b c&d"})
        assert (again.training_file, again.validation_file) == (file, file)
        assert again.method.type == "supervised"
        assert again.error is None or again.error.code is None
        done = complete(client.fine_tuning.jobs.cancel(job.id), of="FineTuningJob")
        assert done.status == "cancelled"
        assert done.finished_at >= done.created_at


def deprecated_hyperparameters_are_taken_and_auto_too(context: Context) -> None:
    with context.client() as client:
        job = client.fine_tuning.jobs.create(
            model="flant5-demo",
            training_file=talks(client),
            hyperparameters={"n_epochs": 3, "batch_size": "auto", "learning_rate_multiplier": 2.0},
        )
        assert complete(job, of="FineTuningJob").hyperparameters.n_epochs == 3
        assert job.hyperparameters.learning_rate_multiplier == 2.0
        client.fine_tuning.jobs.cancel(job.id)


def jobs_are_listed_by_pages_and_by_metadata(context: Context) -> None:
    with context.client() as client:
        jobs, file = client.fine_tuning.jobs, talks(client)
        ours = []
        for number in range(5):
            job = submit(client, file, metadata={"list": "yes", "parity": str(number % 2)})
            jobs.cancel(job.id)
            ours.append(job.id)
        listed = [job.id for job in all_of(jobs.list, of="FineTuningJob", limit=2)]
        assert listed[:5] == ours[::-1]
        assert context.trained in listed
        query = {"metadata": {"list": "yes", "parity": "0"}}
        even = all_of(jobs.list, of="FineTuningJob", limit=2, **query)
        assert [job.id for job in even] == ours[::-2]
        none = all_of(jobs.list, of="FineTuningJob", limit=2, metadata={"list": "no"})
        assert none == []


def a_job_is_paused_resumed_and_cancelled(context: Context) -> None:
    with context.client() as client:
        jobs = client.fine_tuning.jobs
        # It waits behind the one that is trained.
        job_id = submit(client, talks(client)).id
        # The SDK's own list of statuses lacks `paused`; it hands on what comes.
        assert str(jobs.pause(job_id).status) == "paused"
        assert str(jobs.retrieve(job_id).status) == "paused"
        assert complete(jobs.resume(job_id), of="FineTuningJob").status in (
            "validating_files",
            "queued",
        )
        assert complete(jobs.cancel(job_id), of="FineTuningJob").status == "cancelled"
        for again in (jobs.cancel, jobs.pause):
            with refused(openai.BadRequestError, says=job_id, code="invalid_value"):
                again(job_id)
        events = all_of(
            jobs.list_events, of="FineTuningJobEvent", limit=2, fine_tuning_job_id=job_id
        )
        messages = [event.message for event in events][::-1]
        assert messages[0].startswith("Job created")
        assert messages[-1] == "Job cancelled"
        assert "Job paused" in messages
        assert "Job resumed" in messages
        none = jobs.checkpoints.list(job_id)
        assert (list(none), none.has_more) == ([], False)
