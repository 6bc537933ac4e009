"""Directory layout of `FLANT5_HOME`, and resolution of callers' paths.

    files/<file-id>/       an uploaded file and its metadata
    uploads/<upload-id>/   the parts of an incomplete upload
    incoming/              request bodies of uploads in progress, in files without a name
    jobs/<job-id>/         one run directory per job
    deleted/<job-id>.json  the tombstone of a deleted job (`worker.jobs.storage.tombstones`)
    models/<name>/         base models by name; the demo model is built here
    cache/                 encoded conversations, shared by all jobs
    workers/<name>.lock    held by the worker of that name
    slots/<boot id>/<slot>.lock   held by the attempt that trains on that GPU or CPU slot
    audit/<day>.jsonl      audit events of the API
    service/               the id of this service (`worker.jobs.startup.service_identity`)
    redis/                 data of the embedded server (`flant5 up`)
    store.json             the store's change count at a controller's last look
                           (`worker.controller.store_mark`)
    losses.jsonl           data losses of the store that a controller noticed
                           (`worker.jobs.storage.store_losses`)

A path from a caller must stay inside the data root.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from worker.jobs.errors import InvalidRequestError, NotFoundError


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The files of one job: the worker writes them, the API reads them."""

    path: Path
    node: int = 0
    """The node whose log this is; 0 is the leader's node."""

    def on_node(self, node: int) -> "RunDirectory":
        """Returns the same directory with the log of that node."""
        return replace(self, node=node)

    @property
    def job_record(self) -> Path:
        """The job's request (`worker.jobs.storage.job_record`)."""
        return self.path / "job.json"

    @property
    def attempt(self) -> Path:
        """Record of the last attempt (`worker.execution.records`)."""
        return self.path / "attempt.json"

    @property
    def run_config(self) -> Path:
        """The trainer's configuration (`flant5_train.config.RunConfig`)."""
        return self.path / "run.json"

    @property
    def progress(self) -> Path:
        """Progress records (`flant5_train.protocol.progress`)."""
        return self.path / "progress.jsonl"

    @property
    def tensorboard(self) -> Path:
        """The progress as TensorBoard curves (`flant5_train.training.callbacks.reporting`)."""
        return self.path / "tensorboard"

    @property
    def log(self) -> Path:
        """Standard output and standard error of the trainer."""
        return self.path / ("train.log" if self.node == 0 else f"node-{self.node}.log")

    @property
    def failure(self) -> Path:
        """The trainer's failure report (`flant5_train.protocol.failure`)."""
        return self.path / "error.json"

    @property
    def torch_error(self) -> Path:
        """torchrun's failure report (TORCHELASTIC_ERROR_FILE)."""
        of_node = "" if self.node == 0 else f"-node-{self.node}"
        return self.path / f"torch_error{of_node}.json"

    @property
    def result(self) -> Path:
        """The job's outcome, written before Redis records it (`worker.execution.records`)."""
        return self.path / "result.json"

    @property
    def lock(self) -> Path:
        """Locked while a process of an attempt is alive."""
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
        """Incomplete request bodies of uploads (`api.http.upload_route`)."""
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
        """Slot locks, in a folder per host: each host has a GPU 0."""
        return self.root / "slots"

    @property
    def redis(self) -> Path:
        return self.root / "redis"

    @property
    def audit(self) -> Path:
        """Audit events (`api.http.audit`)."""
        return self.root / "audit"

    @property
    def service(self) -> Path:
        """The service's id and its controller's pulse (`worker.jobs.startup.service_identity`)."""
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


def path_under(root: Path, reference: str) -> Path:
    """Returns the real path of the regular file `reference` under `root`.

    Raises NotFoundError for a missing file. Raises InvalidRequestError for an absolute path, a
    path with `..`, a link that leads out, or a directory.
    """
    expected = "expected a file id, or a path relative to the data root that stays inside it"
    parts = Path(reference).parts
    if "\0" in reference or Path(reference).is_absolute() or ".." in parts or not parts:
        raise InvalidRequestError(f"{reference!r} is not allowed; {expected}")
    try:
        real_root = root.resolve(strict=True)
        path = (real_root / reference).resolve(strict=True)
    except FileNotFoundError as error:
        raise NotFoundError(f"no file {reference!r} under the data root; {expected}") from error
    except (OSError, RuntimeError) as error:
        raise InvalidRequestError(f"{reference!r} can't be opened ({error}); {expected}") from error
    if not path.is_relative_to(real_root):
        raise InvalidRequestError(f"{reference!r} is outside the data root; {expected}")
    if not path.is_file():
        raise InvalidRequestError(f"{reference!r} is not a regular file; {expected}")
    return path
