"""Reports on files, as callers ask for them and see them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from flant5_train.config import Hyperparameters, OnBadRecord, OnMissingQuestion
from flant5_train.file_report.format import FileReport

_DEFAULTS = Hyperparameters()

MAX_WAIT_SECONDS = 30.0


class ReportQuery(BaseModel):
    """What is to be found out; names and ranges are those of a job's hyperparameters."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: Annotated[str, Field(max_length=255)] | None = None
    """Base model whose vocabulary counts the tokens; without one they are estimated."""
    model_max_length: int = Field(_DEFAULTS.model_max_length, ge=32, le=65536)
    """Limit in tokens of both sides."""
    max_source_length: int | None = Field(None, ge=32, le=65536)
    """Limit of the questions alone."""
    max_target_length: int | None = Field(None, ge=8, le=65536)
    """Limit of the answers alone."""
    tokenization: Literal["lossless", "fastchat"] = _DEFAULTS.tokenization
    """How text becomes tokens, as the hyperparameter of that name."""
    on_bad_record: OnBadRecord = _DEFAULTS.on_bad_record
    """Whether a malformed record makes the file unusable (`fail`) or is left out (`skip`)."""
    on_missing_question: OnMissingQuestion = _DEFAULTS.on_missing_question
    """Whether answers with no question before them make pairs (`train`) or are left out
    (`skip`)."""
    wait_seconds: float = Field(10.0, ge=0, le=MAX_WAIT_SECONDS, allow_inf_nan=False)
    """Time to wait for a report that is not there yet; it goes on being made afterwards."""


class FileReportObject(FileReport):
    """The report on an uploaded file."""

    object: Literal["file.report"] = "file.report"
    file_id: str
    """The file it is about."""
    status: Literal["completed"] = "completed"


class ReportInProgress(BaseModel):
    """A big file is being read; ask again."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    object: Literal["file.report"] = "file.report"
    file_id: str
    """The file that is being read."""
    status: Literal["in_progress"] = "in_progress"
