"""The numbers of a job as CSV."""

from pathlib import Path

import pytest

from tests.api.test_outputs import evaluated, started, step, write
from tests.worker.scenes import queued_job
from worker.jobs.job import Job
from worker.jobs.storage.files import FILE_IDS, FileStore
from worker.jobs.storage.paths import Home
from worker.jobs.storage.run_files import keep_result_file, result_file_id
from worker.jobs.store.store import JobStore


@pytest.fixture
def job(store: JobStore) -> Job:
    return queued_job(store)


def kept(job: Job, home: Home) -> str:
    keep_result_file(job, home)
    return FileStore(home, None).content_path(result_file_id(job)).read_text()


def test_a_row_holds_what_is_known_of_a_step(job: Job, tmp_path: Path) -> None:
    home = Home(tmp_path)
    write(
        home.run_directory(job.id),
        started(0),
        step(1, loss=2.5),
        step(2, loss=2.0, grad_norm=None),
        evaluated(2, loss=1.5),
        evaluated(3, loss=1.25),
    )
    assert kept(job, home).splitlines() == [
        "step,epoch,train_loss,learning_rate,grad_norm,tokens_seen,tokens_per_second,"
        "source_fill,target_fill,tflops,mfu,valid_loss,valid_mean_token_accuracy,"
        "valid_perplexity,valid_exact_match,valid_rouge_l",
        "1,0.2,2.5,0.0001,1.0,100,50.0,0.9,0.8,1.5,,,,,,",
        "2,0.4,2.0,0.0001,,200,50.0,0.9,0.8,1.5,,1.5,0.5,9.5,,",
        "3,,,,,,,,,,,1.25,0.5,9.5,,",
    ]


def test_work_that_was_lost_and_done_again_is_there_once(job: Job, tmp_path: Path) -> None:
    home = Home(tmp_path)
    first = (started(0), step(1, loss=4.0), step(2, loss=3.0))
    write(home.run_directory(job.id), *first, started(1), step(2, loss=2.0))
    kept(job, home)
    # Once more, as the next worker does when the first one was killed behind this.
    rows = kept(job, home).splitlines()[1:]
    assert [row.split(",")[:3] for row in rows] == [["1", "0.2", "4.0"], ["2", "0.4", "2.0"]]
    assert len(list(home.files.iterdir())) == 1


def test_a_job_that_wrote_nothing_has_a_file_with_a_head_alone(job: Job, tmp_path: Path) -> None:
    assert kept(job, Home(tmp_path)).count("\n") == 1


def test_the_id_follows_from_the_job_whoever_asks(store: JobStore, job: Job) -> None:
    again = store.get(job.id)
    assert result_file_id(again) == result_file_id(job)
    assert FILE_IDS.matches(result_file_id(job))
    assert result_file_id(queued_job(store)) != result_file_id(job)
