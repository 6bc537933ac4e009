"""Job plans, made before submission."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from api.calling import Calling
from api.dependencies import Wired
from api.schemas.create import CreateJob
from api.schemas.plans import JobPlan, PlanInProgress, PlanQuery
from api.services.planning import plan_of

_ASK_AGAIN_SECONDS = 2

router = APIRouter(prefix="/fine_tuning/jobs", tags=["fine-tuning"])


@router.post(
    "/plan",
    response_model=JobPlan,
    responses={202: {"model": PlanInProgress, "description": "Not finished yet; ask again."}},
)
def plan_job(
    services: Wired, calling: Calling, body: CreateJob, query: Annotated[PlanQuery, Query()]
) -> JobPlan | JSONResponse:
    """Estimate a job without starting it. The body and the errors are those of a create. Not part
    of the SDK.

    Returns the settings with every default, and the pairs, steps, tokens and padding, from the same
    batch plan as a run. Also returns the truncation, the required GPU memory, disk space and time,
    and warnings. Nothing is started and no job is stored. The first plan for a large file takes as
    long as reading it. Until then the response is 202.
    """
    plan = plan_of(body, query, caller=calling, services=services)
    if plan is None:
        headers = {"retry-after": str(_ASK_AGAIN_SECONDS)}
        return JSONResponse(PlanInProgress().model_dump(), status_code=202, headers=headers)
    return plan
