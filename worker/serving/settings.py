"""The environment variables of the serving process."""

import socket

from pydantic import Field

from worker.hub_token import HubTokenSettings


class ServeSettings(HubTokenSettings):
    """Built once in `python -m worker.serving`."""

    serve_name: str = Field(default_factory=socket.gethostname, pattern=r"^[\w.-]{1,128}$")
    """Name of this serving process."""
    serve_device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?)$")
    """Where models answer: `cpu`, `cuda` or `cuda:1`. A GPU is shared with the job that trains on
    it."""
    serve_model_bytes: int = Field(8 * 2**30, ge=2**20)
    """Memory for models (4 bytes a weight); the one that was used least recently makes room."""
    serve_source_tokens: int = Field(4096, ge=32, le=65536)
    """Most tokens of a conversation that a model reads, whatever it was trained with."""
    serve_answer_tokens: int = Field(2048, ge=1, le=65536)
    """Most tokens of an answer that a caller may ask for."""
    serve_rows: int = Field(8, ge=1, le=256)
    """Questions to one model that are answered at the same time."""
