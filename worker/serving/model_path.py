"""Where the files of a model are that somebody asks."""

from flant5_train.config import DEMO_MODEL
from worker.jobs.errors import NotFoundError
from worker.jobs.home import Home
from worker.jobs.models import ModelCatalog


def path_of(model: str, catalog: ModelCatalog, home: Home) -> str:
    """A directory or a hub name. The demo model is the one that was built last: each file that is
    trained on has its own.

    Raises NotFoundError.
    """
    path = catalog.resolve(model)
    if path != DEMO_MODEL:
        return path
    built = [path for path in home.models.glob(f"{DEMO_MODEL}-*/config.json") if path.is_file()]
    if not built:
        raise NotFoundError(
            f"the model {DEMO_MODEL!r} is built from the first file that a job trains it on; no "
            "job has done that yet"
        )
    return str(max(built, key=lambda path: path.stat().st_mtime).parent)
