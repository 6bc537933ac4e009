"""A job that was trained, its checkpoints and models, and jobs that go on from these."""

import openai

from tests.conformance.program.complete import all_of, complete
from tests.conformance.program.context import Context, submit, talks
from tests.conformance.program.refusals import refused


def a_trained_job_has_all_that_is_promised(context: Context) -> None:
    job = complete(context.wait_for_end(context.trained), of="FineTuningJob")
    assert job.status == "succeeded", job.error
    assert job.fine_tuned_model.startswith("ft:flant5-demo:")
    assert job.trained_tokens > 0
    assert job.finished_at >= job.created_at
    with context.client() as client:
        (result_file,) = job.result_files
        rows = client.files.content(result_file).text.splitlines()
        assert [row.partition(",")[0] for row in rows] == ["step", "1", "2"]
        results = complete(client.files.retrieve(result_file), of="FileObject")
        assert results.purpose == "fine-tune-results"


def its_events_are_walked_by_pages(context: Context) -> None:
    context.wait_for_end(context.trained)
    with context.client() as client:
        call, query = client.fine_tuning.jobs.list_events, {"fine_tuning_job_id": context.trained}
        events = all_of(call, of="FineTuningJobEvent", limit=3, **query)
        assert events[0].message.startswith("Job succeeded")
        assert events[-1].message.startswith("Job created")
        instants = [event.created_at for event in events]
        assert instants == sorted(instants, reverse=True)
        assert {event.type for event in events} == {"message", "metrics"}


def its_checkpoints_are_walked_by_pages(context: Context) -> None:
    job = context.wait_for_end(context.trained)
    with context.client() as client:
        call = client.fine_tuning.jobs.checkpoints.list
        query = {"fine_tuning_job_id": job.id}
        checkpoints = all_of(call, of="FineTuningJobCheckpoint", limit=1, **query)
        assert [each.step_number for each in checkpoints] == [2, 1]
        names = [each.fine_tuned_model_checkpoint for each in checkpoints]
        assert names == [f"{job.fine_tuned_model}:ckpt-step-{step}" for step in (2, 1)]
        assert checkpoints[0].metrics.train_loss > 0


def models_are_listed_and_found_by_ids_with_slashes_and_colons(context: Context) -> None:
    job = context.wait_for_end(context.trained)
    with context.client() as client:
        page = client.models.list()
        listed = [complete(model, of="Model").id for model in page]
        assert len(set(listed)) == len(listed)
        assert {"flant5-demo", job.fine_tuned_model} <= set(listed)
        checkpoint = f"{job.fine_tuned_model}:ckpt-step-1"
        for name in ("google/flan-t5-small", job.fine_tuned_model, checkpoint):
            assert complete(client.models.retrieve(name), of="Model").id == name


def a_model_is_trained_further_and_the_new_one_deleted(context: Context) -> None:
    job = context.wait_for_end(context.trained)
    start = f"{job.fine_tuned_model}{context.start}"
    with context.client() as client:
        file = talks(client)
        job_id = submit(client, file, model=start).id
        done = complete(context.wait_for_end(job_id), of="FineTuningJob")
        assert (done.status, done.model) == ("succeeded", start), done.error
        assert done.trained_tokens > 0
        gone = done.fine_tuned_model
        assert gone.startswith("ft:flant5-demo:")
        assert gone != job.fine_tuned_model
        assert complete(client.models.delete(gone), of="ModelDeleted").deleted is True
        for call in (client.models.retrieve, client.models.delete):
            with refused(openai.NotFoundError, says=gone, code="not_found"):
                call(gone)
        with refused(openai.BadRequestError, says=gone, code="invalid_value"):
            submit(client, file, model=gone)
