"""What a file holds and what is wrong with it, before a job is paid for."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse

from api.calling import Calling
from api.owned import own_file
from api.schemas.reports import FileReportObject, ReportInProgress, ReportQuery
from api.services import Wired

_ASK_AGAIN_SECONDS = 2

router = APIRouter(prefix="/files", tags=["files"])


@router.get(
    "/{file_id}/report",
    dependencies=[Depends(own_file)],
    response_model=FileReportObject,
    responses={202: {"model": ReportInProgress, "description": "It is being made; ask again."}},
)
def report_file(
    services: Wired, calling: Calling, file_id: str, query: Annotated[ReportQuery, Query()]
) -> FileReportObject | JSONResponse:
    """Conversations, pairs, tokens, what limits on length would cut, repeats, and every problem
    with its record, line and field: all counted, the first 100 listed. Beyond the SDK.

    A file of 600 MB takes half a minute or more: until its report is there the answer is 202. It is
    made once and kept with the file. Tokens are exact for a `model` whose vocabulary the server can
    read, else estimated; `tokens.counted` and `tokens.note` say so.
    """
    report = services.reports.ask(file_id, query, owner=calling.limited_to)
    if report is None:
        body = ReportInProgress(file_id=file_id).model_dump()
        headers = {"retry-after": str(_ASK_AGAIN_SECONDS)}
        return JSONResponse(body, status_code=202, headers=headers)
    shown = report.tokens.model_copy(update={"model": query.model})
    return FileReportObject(
        **report.model_copy(update={"tokens": shown}).model_dump(), file_id=file_id
    )
