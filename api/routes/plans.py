"""What a job would be, before it is submitted."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from api.calling import Calling
from api.planning import plan_of
from api.schemas.create import CreateJob
from api.schemas.plans import JobPlan, PlanInProgress, PlanQuery
from api.services import Wired

_ASK_AGAIN_SECONDS = 2

router = APIRouter(prefix="/fine_tuning/jobs", tags=["fine-tuning"])


@router.post(
    "/plan",
    response_model=JobPlan,
    responses={202: {"model": PlanInProgress, "description": "It is being made; ask again."}},
)
def plan_job(
    services: Wired, calling: Calling, body: CreateJob, query: Annotated[PlanQuery, Query()]
) -> JobPlan | JSONResponse:
    """Plan a job: the body is that of a create, and so are the errors. Beyond the SDK.

    Tells the settings with every default, pairs, steps, tokens and padding, from the same plan of
    batches that a run makes; what is cut; the memory of a GPU, the disk and the time that it would
    take; and what to look at first. Nothing is started and no job stored. The first plan for a big
    file takes as long as reading it: until then the answer is 202.
    """
    plan = plan_of(body, query, caller=calling, services=services)
    if plan is None:
        headers = {"retry-after": str(_ASK_AGAIN_SECONDS)}
        return JSONResponse(PlanInProgress().model_dump(), status_code=202, headers=headers)
    return plan
