"""Plans of jobs and reports on files, both made before a job uses them.

A report gives the content and the problems of a file.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse

from api.dependencies import CallerDep, ServicesDep, get_file_or_404
from api.schemas.jobs import CreateJob
from api.schemas.plans import (
    FileReportObject,
    JobPlan,
    PlanInProgress,
    PlanQuery,
    ReportInProgress,
    ReportQuery,
)
from api.services.planning import plan_of

_ASK_AGAIN_SECONDS = 2

router = APIRouter(prefix="/fine_tuning/jobs", tags=["fine-tuning"])


@router.post(
    "/plan",
    response_model=JobPlan,
    responses={202: {"model": PlanInProgress, "description": "Not finished yet; ask again."}},
)
def plan_job(
    services: ServicesDep, calling: CallerDep, body: CreateJob, query: Annotated[PlanQuery, Query()]
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


reports_router = APIRouter(prefix="/files", tags=["files"])


@reports_router.get(
    "/{file_id}/report",
    dependencies=[Depends(get_file_or_404)],
    response_model=FileReportObject,
    responses={202: {"model": ReportInProgress, "description": "Not finished yet; ask again."}},
)
def report_file(
    services: ServicesDep, calling: CallerDep, file_id: str, query: Annotated[ReportQuery, Query()]
) -> FileReportObject | JSONResponse:
    """Check a file: conversations, pairs, tokens, truncation, duplicates, and every problem with
    its record, line and field. All problems are counted, the first 100 are listed. Not part of the
    SDK.

    A file of 600 MB takes half a minute or more. Until then the response is 202. The report is made
    once and stored with the file. Tokens are exact for a `model` whose vocabulary the server can
    read, else estimated; see `tokens.counted` and `tokens.note`.
    """
    report = services.reports.ask(file_id, query, owner=calling.owner_filter)
    if report is None:
        body = ReportInProgress(file_id=file_id).model_dump()
        headers = {"retry-after": str(_ASK_AGAIN_SECONDS)}
        return JSONResponse(body, status_code=202, headers=headers)
    shown = report.tokens.model_copy(update={"model": query.model})
    return FileReportObject(
        **report.model_copy(update={"tokens": shown}).model_dump(), file_id=file_id
    )
