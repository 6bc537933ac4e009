"""The shape of every error."""

from pydantic import BaseModel, ConfigDict


class Error(BaseModel):
    """Why a request was not carried out."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    message: str
    """What was found, where, and what was expected."""
    type: str
    """`invalid_request_error`, `authentication_error`, `rate_limit_error` or `server_error`."""
    param: str | None
    """The field at fault, with dots between the levels."""
    code: str | None
    """The class of error, for programs."""


class ErrorResponse(BaseModel):
    """Every error has this shape, whatever caused it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    error: Error
    """What went wrong."""
