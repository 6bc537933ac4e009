"""Models a job can start from. Their ids contain `/` and `:`, raw or escaped."""

from fastapi import APIRouter

from api.calling import Calling
from api.parameters import ModelId
from api.recorder import disk_error
from api.schemas.models import ModelDeleted, ModelObject
from api.schemas.pages import ListPage
from api.services import Wired

router = APIRouter(prefix="/models", tags=["models"])


@router.get("")
def list_models(services: Wired, calling: Calling) -> ListPage[ModelObject]:
    """The models that are here: those that jobs made, newest first, and base models."""
    models = services.models.list(owner=calling.limited_to)
    return ListPage[ModelObject].of([ModelObject.of(model) for model in models])


@router.get("/{model:path}")
def retrieve_model(services: Wired, calling: Calling, model: ModelId) -> ModelObject:
    """What is known about a model."""
    return ModelObject.of(services.models.get(model, owner=calling.limited_to))


@router.delete("/{model:path}")
def delete_model(services: Wired, calling: Calling, model: ModelId) -> ModelDeleted:
    """Forget a model that a job made; its files stay in the job's output."""
    try:
        services.models.delete(model, owner=calling.limited_to)
    except OSError as error:
        message = f"model {model} is still there: its job's record can't be changed ({error})"
        raise disk_error(error, message) from error
    return ModelDeleted(id=model)
