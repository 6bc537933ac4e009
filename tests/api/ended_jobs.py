"""Jobs that have ended, with all the files that a job leaves."""

from dataclasses import dataclass

from worker.jobs.job import Job, JobSpec, model_id
from worker.jobs.storage.job_files import JobFiles
from worker.jobs.storage.job_record import JobRecordStore
from worker.jobs.storage.paths import Home
from worker.jobs.storage.run_files import keep_result_file, result_file_id
from worker.jobs.store.serialization import (
    NewCheckpoint,
    NewEvent,
    NewLogLine,
    Outcome,
    Succeeded,
    Update,
)
from worker.jobs.store.store import JobStore

MODEL = ("config.json", "model.safetensors")
STEPS = (4, 8)


@dataclass(frozen=True, slots=True)
class EndedJob:
    """The job as it was, and where its files are."""

    job: Job
    files: JobFiles

    @property
    def model(self) -> str:
        return model_id(self.job.id, self.job.spec)

    @property
    def result_file(self) -> str:
        return result_file_id(self.job)

    def all_is_there(self) -> bool:
        output = self.files.run_directory.output
        directories = (output, *(output / f"checkpoint-{step}" for step in STEPS))
        names = [directory / name for directory in directories for name in MODEL]
        return all(path.is_file() for path in (*names, self.files.run_directory.job_record))


def ended_job(
    store: JobStore, home: Home, *, outcome: Outcome | None = None, owner: str = ""
) -> EndedJob:
    """It has succeeded unless another outcome is given."""
    spec = JobSpec(
        model="flant5-demo",
        training_file="chats.json",
        metadata={"team": "blue"},
        priority=100,  # others may wait
    )
    created = store.create(spec, owner=owner)
    assert store.accept(created.id)
    claim = store.leases.claim(worker="gpu-0", num_slots=1, lease_seconds=600)
    assert claim is not None
    assert claim.job.id == created.id
    job = claim.job
    update = Update(
        events=(NewEvent("Step 8/8"),),
        log_lines=(NewLogLine(line="a line", stream="stderr"),),
        checkpoints=tuple(
            NewCheckpoint(step=step, path=f"output/checkpoint-{step}", metrics={"loss": 2.5})
            for step in STEPS
        ),
    )
    assert store.leases.record(claim, update)
    keep_result_file(job, home)
    assert store.leases.finish(claim, outcome or Succeeded(model_id(job.id, job.spec)))
    job = store.get(job.id)
    add_files(job, home)
    return EndedJob(job, JobFiles(home, job.id, result_file_id(job)))


def add_files(job: Job, home: Home) -> None:
    """A final model, two checkpoints, a log and the record."""
    JobRecordStore(home).write(job)
    directory = home.run_directory(job.id)
    for path in (directory.output, *(directory.output / f"checkpoint-{step}" for step in STEPS)):
        path.mkdir(parents=True, exist_ok=True)
        (path / "config.json").write_text("{}")
        (path / "model.safetensors").write_bytes(b"w" * 1000)
    directory.log.write_text("a line\n")
