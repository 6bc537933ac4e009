"""File reports: content and problems of a file, before a job uses it."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse

from api.calling import Calling
from api.dependencies import Wired
from api.owned import own_file
from api.schemas.reports import FileReportObject, ReportInProgress, ReportQuery

_ASK_AGAIN_SECONDS = 2

router = APIRouter(prefix="/files", tags=["files"])


@router.get(
    "/{file_id}/report",
    dependencies=[Depends(own_file)],
    response_model=FileReportObject,
    responses={202: {"model": ReportInProgress, "description": "Not finished yet; ask again."}},
)
def report_file(
    services: Wired, calling: Calling, file_id: str, query: Annotated[ReportQuery, Query()]
) -> FileReportObject | JSONResponse:
    """Check a file: conversations, pairs, tokens, truncation, duplicates, and every problem with
    its record, line and field. All problems are counted, the first 100 are listed. Not part of the
    SDK.

    A file of 600 MB takes half a minute or more. Until then the response is 202. The report is made
    once and stored with the file. Tokens are exact for a `model` whose vocabulary the server can
    read, else estimated; see `tokens.counted` and `tokens.note`.
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
