"""Schema of errors."""

from pydantic import BaseModel, ConfigDict


class Error(BaseModel):
    """Details of an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    message: str
    """The problem, the value found, and the expected value."""
    type: str
    """`invalid_request_error`, `authentication_error`, `rate_limit_error` or `server_error`."""
    param: str | None
    """The invalid field, as a dotted path."""
    code: str | None
    """The error class, for programs."""


class ErrorResponse(BaseModel):
    """The shape of every error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    error: Error
    """Details of the error."""
