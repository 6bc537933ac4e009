"""Catalog of the base models, and of the models that jobs made.

flant5-demo                                the built-in demo model
my-t5                                      a directory of that name under HOME/models, or else
                                           under settings.models_root
google/flan-t5-base                        a hub name that settings.hub_models allows
ft:flant5-demo:flant5:math:7d6c5b4a        the model of a job
ft:flant5-demo:flant5:math:7d6c5b4a:ckpt-step-40      its checkpoint at step 40
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from flant5_train.config import DEMO_MODEL
from worker.jobs.errors import InvalidRequestError, NotFoundError, did_you_mean
from worker.jobs.job import Job
from worker.jobs.settings import SharedSettings
from worker.jobs.store.listing import no_fine_tuned
from worker.jobs.store.store import JobStore

OWNER = "flant5"

_PUBLISHED = (
    *(f"google/flan-t5-{size}" for size in ("small", "base", "large", "xl", "xxl")),
    "lmsys/fastchat-t5-3b-v1.0",
)
"""Hub names of the models that this service supports."""
_ALL_OF_A_KIND = "google/flan-t5-"
"""`_PUBLISHED` lists all hub names with this prefix."""

_CHECKPOINT = re.compile(r"(?P<model>ft:.+):ckpt-step-(?P<step>\d{1,12})", re.ASCII)
_STEP = re.compile(r"checkpoint-(?P<step>\d{1,12})", re.ASCII)
_DIRECTORY_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,127}", re.ASCII)
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Model:
    """A model as callers see it; `created_at` is in Unix seconds, 0 for a built-in model."""

    id: str
    created_at: float
    owned_by: str


class ModelCatalog:
    """All models this service can train from.

    For an `owner`, models from jobs of other owners do not exist; None sees all. All owners see the
    base models.
    """

    def __init__(self, settings: SharedSettings, store: JobStore) -> None:
        self._home = settings.home_directories
        root = settings.models_root
        self._roots = (self._home.models, *([] if root is None else [root.resolve()]))
        self._patterns = tuple(
            pattern.strip() for pattern in settings.hub_models.split(",") if pattern.strip()
        )
        self._store = store

    def resolve(self, model: str, *, owner: str | None = None) -> str:
        """Returns the name that the trainer loads: `flant5-demo`, a directory or a hub name.

        Raises NotFoundError, which lists the available models.
        """
        if model == DEMO_MODEL:
            return model
        if model.startswith("ft:"):
            return str(self._fine_tuned_directory(model, owner=owner))
        if directory := self._named(model):
            return str(directory)
        if self._is_allowed(model) and not self._is_misspelt(model):
            return model
        local = (each.id for each in self._local())
        known = [*local, *self._fine_tuned(owner), *filter(self._is_allowed, _PUBLISHED)]
        literal = [pattern for pattern in self._patterns if _HUB_NAME.fullmatch(pattern)]
        hint = did_you_mean(model, [*known, *literal])
        raise NotFoundError(f"unknown model {model!r}{hint or ';'} available: {self._possible()}")

    def _is_allowed(self, model: str) -> bool:
        """Returns True for a hub name that the operator allows."""
        allowed = any(fnmatchcase(model, pattern) for pattern in self._patterns)
        return _HUB_NAME.fullmatch(model) is not None and allowed

    def _is_misspelt(self, model: str) -> bool:
        """Returns True for a name that the hub is known not to have, without a request to it. A
        name that the operator allows literally is accepted."""
        is_known = model in _PUBLISHED or model in self._patterns
        return model.startswith(_ALL_OF_A_KIND) and not is_known

    def _fine_tuned(self, owner: str | None) -> Iterator[str]:
        """Yields the ids of the models that jobs made."""
        for model, job_id in self._store.models.all().items():
            if owner in (None, self._store.owner_of(job_id)):
                yield model

    def list(self, *, owner: str | None = None) -> tuple[Model, ...]:
        """Returns the local models: those of jobs, newest first; the demo model; directories."""
        made = ((model, self._store.get(job)) for model, job in self._store.models.all().items())
        fine_tuned = [_made_by(job, model) for model, job in made if owner in (None, job.owner)]
        fine_tuned.sort(key=lambda model: model.created_at, reverse=True)
        return (*fine_tuned, *self._local())

    def get(self, model: str, *, owner: str | None = None) -> Model:
        """Returns a model. Raises NotFoundError."""
        for local in self._local():
            if local.id == model:
                return local
        if not model.startswith("ft:"):
            self.resolve(model)
            return Model(id=model, created_at=0, owned_by=model.partition("/")[0])
        made = _made_by(self._store.get(self.job_of(model, owner=owner)), model)
        if _CHECKPOINT.fullmatch(model) is None:
            return made
        directory = self._fine_tuned_directory(model, owner=owner)
        return replace(made, created_at=directory.stat().st_mtime)

    def step_of(self, model: str, *, owner: str | None = None) -> int | None:
        """Returns the step of a checkpoint, and None for the final model of a job.

        Raises InvalidRequestError for a base model, and NotFoundError for an unknown one.
        """
        if not model.startswith("ft:"):
            self.get(model, owner=owner)
            raise InvalidRequestError(
                f"model {model!r} is a base model; only models made by jobs can be deleted",
                param="model",
            )
        checkpoint = _CHECKPOINT.fullmatch(model)
        return int(checkpoint["step"]) if checkpoint else None

    def job_of(self, model: str, *, owner: str | None) -> str:
        """Returns the job that made a model or checkpoint. Raises NotFoundError for a missing one
        and for another owner's."""
        checkpoint, index = _CHECKPOINT.fullmatch(model), self._store.models
        name = checkpoint["model"] if checkpoint else model
        try:
            # A job that has not ended, or has failed, has checkpoints but no model.
            job_id = index.job_of_name(name) if checkpoint else index.job_of(name)
        except NotFoundError as error:
            raise NotFoundError(f"{error}{did_you_mean(name, self._fine_tuned(owner))}") from error
        if owner not in (None, self._store.owner_of(job_id)):
            raise NotFoundError(
                f"{no_fine_tuned(name)}{did_you_mean(name, self._fine_tuned(owner))}"
            )
        return job_id

    def _fine_tuned_directory(self, model: str, *, owner: str | None) -> Path:
        checkpoint, job_id = _CHECKPOINT.fullmatch(model), self.job_of(model, owner=owner)
        output = self._home.run_directory(job_id).output
        directory = output / f"checkpoint-{int(checkpoint['step'])}" if checkpoint else output
        if not self._is_model(directory):
            raise NotFoundError(
                f"the files of model {model!r} of job {job_id} are gone; expected {directory}"
                f"{_checkpoints_in(output) if checkpoint else ''}"
            )
        return directory

    def _local(self) -> tuple[Model, ...]:
        demo = Model(id=DEMO_MODEL, created_at=0, owned_by=OWNER)
        names = {path.name for root in self._roots for path in root.glob("*")}
        named = (
            Model(id=name, created_at=directory.stat().st_mtime, owned_by=OWNER)
            for name in sorted(names - {DEMO_MODEL})
            if (directory := self._named(name))
        )
        return (demo, *named)

    def _named(self, name: str) -> Path | None:
        """Returns the directory of a base model of this name."""
        if not _DIRECTORY_NAME.fullmatch(name):
            return None
        found = (root / name for root in self._roots if self._is_model(root / name))
        return next(found, None)

    @staticmethod
    def _is_model(directory: Path) -> bool:
        return (directory / "config.json").is_file()

    def _possible(self) -> str:
        local = [model.id for model in self._local()]
        return ", ".join(
            [*local, *(f"hub names like {p}" for p in self._patterns), "fine-tuned models (ft:...)"]
        )


def _checkpoints_in(output: Path) -> str:
    found = (_STEP.fullmatch(path.name) for path in output.glob("checkpoint-*"))
    steps = sorted(int(step["step"]) for step in found if step)
    if not steps:
        return "; the job has no checkpoints"
    return f"; the job has checkpoints at steps {', '.join(map(str, steps))}"


def _made_by(job: Job, model: str) -> Model:
    owner = job.owner or OWNER
    return Model(id=model, created_at=job.finished_at or job.created_at, owned_by=owner)
