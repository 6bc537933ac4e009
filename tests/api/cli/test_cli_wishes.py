"""`flant5 cancel`, `pause`, `resume`: one line that says what happened."""

from tests.api.cli_runs import flant5
from tests.api.scenes import make_job
from worker.jobs.store.serialization import Claim, HeartbeatDirective
from worker.jobs.store.store import JobStore


def test_cancel_says_what_happened(server_url: str, store: JobStore, running_job: Claim) -> None:
    waiting = make_job(store)
    assert "is cancelled" in flant5("cancel", waiting.id, url=server_url).out
    assert "is stopping" in flant5("cancel", running_job.job.id, url=server_url).out
    again = flant5("cancel", waiting.id, "--json", url=server_url)
    assert (again.code, "already cancelled" in again.document["error"]["message"]) == (1, True)


def test_cancel_can_let_a_running_job_save_first(
    server_url: str, store: JobStore, running_job: Claim
) -> None:
    run = flant5("cancel", running_job.job.id, "--save", url=server_url)
    assert run.out == f"{running_job.job.id} is saving a checkpoint, then stopping\n"
    assert store.leases.heartbeat(running_job, 60) is HeartbeatDirective.CANCEL_SAVE


def test_pause_and_resume_say_what_happened(
    server_url: str, store: JobStore, running_job: Claim
) -> None:
    running, waiting = running_job.job.id, make_job(store).id

    def said(wish: str, job_id: str) -> str:
        return flant5(wish, job_id, url=server_url).out.strip()

    assert said("pause", running) == f"{running} is pausing after the next checkpoint"
    withdrawn = "keeps running; the pending pause was withdrawn"
    assert said("resume", running) == f"{running} {withdrawn}"
    assert said("pause", waiting) == f"{waiting} is paused"
    assert f"flant5 resume {waiting}" in said("job", waiting)
    resumed = "is resumed; its files are being validated"
    assert said("resume", waiting) == f"{waiting} {resumed}"
    store.accept(waiting)
    paused = flant5("pause", waiting, "--json", url=server_url)
    assert (paused.code, paused.document["status"]) == (0, "paused")
    assert said("resume", waiting) == f"{waiting} is queued again"
    again = flant5("resume", waiting, "--json", url=server_url)
    assert (again.code, "can be resumed" in again.document["error"]["message"]) == (1, True)
