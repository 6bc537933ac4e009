"""Chat completions."""

from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from api.chat.completion import complete, stream
from api.dependencies import CallerDep, ServicesDep
from api.schemas.chat import CreateChatCompletion
from api.schemas.chat_completion import ChatCompletion
from api.streaming.sse import MEDIA_TYPE

router = APIRouter(prefix="/chat/completions", tags=["chat"])

_LIVE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The completion. With `stream`, chunks token by token.",
        "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
    }
}


@router.post("", responses=_LIVE, response_model=ChatCompletion)
async def create_chat_completion(
    services: ServicesDep, calling: CallerDep, request: Request, body: CreateChatCompletion
) -> ChatCompletion | StreamingResponse:
    """Generate the next answer of a conversation, in the prompt format used for training.

    Unsupported parameters are rejected by name.
    """
    # Raises if the model is missing or belongs to another owner.
    await run_in_threadpool(
        partial(services.models.resolve, body.model, owner=calling.owner_filter)
    )
    give = stream if body.stream else complete
    return await give(body, services=services, request=request)
