"""Where things lie under `FLANT5_HOME`.

files/<file-id>/       an uploaded file and what is known about it
uploads/<upload-id>/   the parts of a file that is still coming
incoming/              bodies of uploads that are still coming, in files without a name
jobs/<job-id>/         one run directory per job
deleted/<job-id>.json  the tombstone of a deleted job (`worker.jobs.tombstones`)
models/<name>/         base models by name; the demo model is built here
cache/                 encoded conversations, shared by all jobs
workers/<name>.lock    held by the worker of that name
slots/<boot id>/<slot>.lock   held by whoever trains on that GPU or CPU slot
audit/<day>.jsonl      who changed what by the API
service/               the id of this service (`worker.jobs.service_identity`)
redis/                 data of the embedded server (`flant5 up`)
store.json             how far the store was when a keeper last saw it (`worker.jobs.mark`)
losses.jsonl           losses of the store that a keeper noticed (`worker.jobs.losses`)
"""

from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The files of one job, shared by the worker that writes and the API that reads."""

    path: Path
    node: int = 0
    """Whose log it is about: 0 is the node of the worker that leads the attempt."""

    def on_node(self, node: int) -> "RunDirectory":
        """The same directory with that node's own log."""
        return replace(self, node=node)

    @property
    def job_record(self) -> Path:
        """What was asked for (`worker.jobs.ledger`)."""
        return self.path / "job.json"

    @property
    def attempt(self) -> Path:
        """The last attempt that began (`worker.attempts.attempt_record`)."""
        return self.path / "attempt.json"

    @property
    def run_config(self) -> Path:
        """What the trainer was told (`flant5_train.config.RunConfig`)."""
        return self.path / "run.json"

    @property
    def progress(self) -> Path:
        """What happened (`flant5_train.progress`)."""
        return self.path / "progress.jsonl"

    @property
    def tensorboard(self) -> Path:
        """The same as curves (`flant5_train.event_files`)."""
        return self.path / "tensorboard"

    @property
    def log(self) -> Path:
        """Standard output and standard error of the trainer."""
        return self.path / ("train.log" if self.node == 0 else f"node-{self.node}.log")

    @property
    def failure(self) -> Path:
        """Why it failed (`flant5_train.failure`)."""
        return self.path / "error.json"

    @property
    def torch_error(self) -> Path:
        """What torchrun knows about a failure (TORCHELASTIC_ERROR_FILE)."""
        of_node = "" if self.node == 0 else f"-node-{self.node}"
        return self.path / f"torch_error{of_node}.json"

    @property
    def result(self) -> Path:
        """How the job ended, before that was said in Redis (`worker.attempts.result`)."""
        return self.path / "result.json"

    @property
    def lock(self) -> Path:
        """Locked for as long as a process of an attempt is alive."""
        return self.path / "lock"

    @property
    def output(self) -> Path:
        """Checkpoints and the final model."""
        return self.path / "output"


@dataclass(frozen=True, slots=True)
class Home:
    """The service's directory; `root` is absolute."""

    root: Path

    @property
    def files(self) -> Path:
        return self.root / "files"

    @property
    def uploads(self) -> Path:
        return self.root / "uploads"

    @property
    def incoming(self) -> Path:
        """Where bodies of uploads wait until they are whole (`api.upload_route`)."""
        return self.root / "incoming"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def workers(self) -> Path:
        return self.root / "workers"

    @property
    def slots(self) -> Path:
        """With a folder per host: each has a GPU 0."""
        return self.root / "slots"

    @property
    def redis(self) -> Path:
        return self.root / "redis"

    @property
    def audit(self) -> Path:
        """Who changed what (`api.audit`)."""
        return self.root / "audit"

    @property
    def service(self) -> Path:
        """Its id, and the signs of life of its keeper (`worker.jobs.service_identity`)."""
        return self.root / "service"

    @property
    def store_mark(self) -> Path:
        return self.root / "store.json"

    @property
    def losses(self) -> Path:
        return self.root / "losses.jsonl"

    @property
    def jobs(self) -> Path:
        return self.root / "jobs"

    @property
    def deleted(self) -> Path:
        return self.root / "deleted"

    def run_directory(self, job_id: str) -> RunDirectory:
        return RunDirectory(self.jobs / job_id)
