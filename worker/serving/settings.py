"""The environment variables of the serving process."""

import socket

from pydantic import Field

from worker.hub_token import HubTokenSettings


class ServeSettings(HubTokenSettings):
    """Built once in `python -m worker.serving`."""

    serve_name: str = Field(default_factory=socket.gethostname, pattern=r"^[\w.-]{1,128}$")
    """Name of this serving process. Default: the host name."""
    serve_device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?)$")
    """Device for inference: `cpu`, `cuda` or `cuda:1`. A GPU is shared with the job that trains on
    it."""
    serve_model_bytes: int = Field(8 * 2**30, ge=2**20)
    """Memory for loaded models, in bytes (4 bytes per weight). Beyond it, the least recently used
    model is unloaded."""
    serve_source_tokens: int = Field(4096, ge=32, le=65536)
    """Maximum number of input tokens per conversation, independent of the limit in training."""
    serve_answer_tokens: int = Field(2048, ge=1, le=65536)
    """Maximum number of answer tokens that a caller may request."""
    serve_rows: int = Field(8, ge=1, le=256)
    """Maximum batch size: requests to one model that are answered at the same time."""
