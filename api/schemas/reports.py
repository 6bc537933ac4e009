"""Schemas of file reports."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from flant5_train.config import Hyperparameters, OnBadRecord, OnMissingQuestion
from flant5_train.protocol.file_report import FileReport

_DEFAULTS = Hyperparameters()

MAX_WAIT_SECONDS = 30.0


class ReportQuery(BaseModel):
    """Options of a report. Names and ranges are those of a job's hyperparameters."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: Annotated[str, Field(max_length=255)] | None = None
    """Base model whose vocabulary counts the tokens. Without it, token counts are estimated."""
    model_max_length: int = Field(_DEFAULTS.model_max_length, ge=32, le=65536)
    """Token limit for questions and answers."""
    max_source_length: int | None = Field(None, ge=32, le=65536)
    """Token limit for questions alone."""
    max_target_length: int | None = Field(None, ge=8, le=65536)
    """Token limit for answers alone."""
    tokenization: Literal["lossless", "fastchat"] = _DEFAULTS.tokenization
    """Tokenization method, as in the hyperparameter of that name."""
    on_bad_record: OnBadRecord = _DEFAULTS.on_bad_record
    """`fail`: a malformed record makes the file unusable. `skip`: it is omitted."""
    on_missing_question: OnMissingQuestion = _DEFAULTS.on_missing_question
    """`train`: answers without a preceding question make pairs. `skip`: they are omitted."""
    wait_seconds: float = Field(10.0, ge=0, le=MAX_WAIT_SECONDS, allow_inf_nan=False)
    """Maximum time to wait for a new report, in seconds. An unfinished report continues in the
    background."""


class FileReportObject(FileReport):
    """Report on an uploaded file."""

    object: Literal["file.report"] = "file.report"
    file_id: str
    """The checked file."""
    status: Literal["completed"] = "completed"


class ReportInProgress(BaseModel):
    """The report is not finished, because a large file is being read. Ask again."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    object: Literal["file.report"] = "file.report"
    file_id: str
    """The file being checked."""
    status: Literal["in_progress"] = "in_progress"
