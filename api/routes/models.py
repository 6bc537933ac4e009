"""Models that a job can start from. Their ids contain `/` and `:`, raw or escaped."""

from fastapi import APIRouter

from api.dependencies import CallerDep, ServicesDep
from api.schemas.common import IsRetry, ListPage, ModelDeleted, ModelId
from api.schemas.models import ModelObject
from api.services import deletion

router = APIRouter(prefix="/models", tags=["models"])


@router.get("")
def list_models(services: ServicesDep, calling: CallerDep) -> ListPage[ModelObject]:
    """List the available models: fine-tuned models, newest first, then base models."""
    models = services.models.list(owner=calling.owner_filter)
    return ListPage[ModelObject].of([ModelObject.of(model) for model in models])


@router.get("/{model:path}")
def retrieve_model(services: ServicesDep, calling: CallerDep, model: ModelId) -> ModelObject:
    """Get a model."""
    return ModelObject.of(services.models.get(model, owner=calling.owner_filter))


@router.delete("/{model:path}")
def delete_model(
    services: ServicesDep, calling: CallerDep, model: ModelId, is_retry: IsRetry
) -> ModelDeleted:
    """Delete a fine-tuned model with its files. Its job and checkpoints stay. An id such as
    `...:ckpt-step-40` deletes that checkpoint.

    Returns 409 if a job that has not ended starts from it. An answer in progress is completed.
    """
    freed = deletion.delete_model(model, caller=calling, is_retry=is_retry, services=services)
    return ModelDeleted(id=model, freed_bytes=freed)
