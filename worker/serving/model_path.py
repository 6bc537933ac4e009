"""Resolves a requested model to its files."""

from flant5_train.config import DEMO_MODEL
from worker.jobs.errors import NotFoundError
from worker.jobs.storage.paths import Home
from worker.jobs.store.models import ModelCatalog


def path_of(model: str, catalog: ModelCatalog, home: Home) -> str:
    """Returns a directory or a hub name.

    Each training file has its own demo model; for its name, the newest one is returned.

    Raises NotFoundError.
    """
    path = catalog.resolve(model)
    if path != DEMO_MODEL:
        return path
    built = [path for path in home.models.glob(f"{DEMO_MODEL}-*/config.json") if path.is_file()]
    if not built:
        raise NotFoundError(
            f"the model {DEMO_MODEL!r} does not exist yet; the first job that trains it creates it"
        )
    return str(max(built, key=lambda path: path.stat().st_mtime).parent)
