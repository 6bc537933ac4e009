"""Models available for chat, and their base models."""

from itertools import islice

from api.dashboard.job_row import name_of
from api.dashboard.jobs.rows import recent_jobs
from api.dashboard.visitor import Visitor
from api.schemas.history import CheckpointObject
from worker.jobs.errors import NotFoundError
from worker.jobs.job import Job

_MAX_MODELS = 200
_MAX_JOBS = 30
_MAX_CHECKPOINTS = 10


def models_to_ask(visitor: Visitor) -> dict[str, str]:
    """Returns ids and names of fine-tuned models, base models, and recent jobs' checkpoints."""
    services, owner = visitor.services, visitor.caller.limited_to
    names = {model.id: model.id for model in islice(services.models.list(owner=owner), _MAX_MODELS)}
    for job in recent_jobs(visitor, limit=_MAX_JOBS):
        names |= _checkpoints(visitor, job)
    return names


def _checkpoints(visitor: Visitor, job: Job) -> dict[str, str]:
    page = visitor.services.history.checkpoints(job.id, limit=_MAX_CHECKPOINTS)
    found = {}
    for checkpoint in page.items:
        model = CheckpointObject.of(checkpoint, job=job).fine_tuned_model_checkpoint
        try:
            visitor.services.models.resolve(model)
        except NotFoundError:
            continue  # deleted by checkpoint rotation
        found[model] = f"{name_of(job)}, checkpoint at step {checkpoint.step} · {model}"
    return found


def base_of(visitor: Visitor, model: str) -> str | None:
    """Returns the base of a fine-tuned model or checkpoint; None for any other model.

    Raises NotFoundError for missing models and for those of other owners.
    """
    visitor.services.models.resolve(model, owner=visitor.caller.limited_to)
    if not model.startswith("ft:"):
        return None
    name, _, _ = model.partition(":ckpt-step-")
    return visitor.job(visitor.services.store.models.job_of_name(name)).spec.model
