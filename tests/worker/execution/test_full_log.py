"""A run whose log has reached its limit."""

from pathlib import Path

from pydantic import SecretStr

from tests.worker.workshop import open_workshop
from worker.jobs.job import Status


def test_why_a_run_failed_is_told_although_its_log_was_full(
    redis_url: SecretStr, tmp_path: Path
) -> None:
    workshop = open_workshop(redis_url, tmp_path, train_log_bytes=1)
    job = workshop.run(workshop.new_job().id, "crashes.py")
    assert job.status is Status.FAILED
    assert job.error is not None
    assert "ImportError: libcudart.so.12" in job.error.message
    lines = [line.line for line in workshop.history.logs(job.id).items]
    assert any("has reached 1 bytes" in line for line in lines)
    assert any("ImportError: libcudart.so.12" in line for line in lines)
