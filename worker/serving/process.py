"""The inference process, a child process: its handle and its settings.

The handle sends orders, and receives pieces of answers. The settings are the environment variables
of the serving process.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import partial

from pydantic import Field, ValidationError

from flant5_train.protocol.host import end_with
from flant5_train.protocol.inference import Order, StreamEvent, parse_event
from worker.processes.environment_policy import allowed_environment
from worker.settings import HubTokenSettings


class InferenceSettings(HubTokenSettings):
    """Built once in `python -m worker.serving`."""

    inference_name: str = Field(default_factory=socket.gethostname, pattern=r"^[\w.-]{1,128}$")
    """Name of this serving process. Default: the host name."""
    inference_device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?)$")
    """Device for inference: `cpu`, `cuda` or `cuda:1`. A GPU is shared with the job that trains on
    it."""
    inference_model_bytes: int = Field(8 * 2**30, ge=2**20)
    """Memory for loaded models, in bytes (4 bytes per weight). Beyond it, the least recently used
    model is unloaded."""
    inference_source_tokens: int = Field(4096, ge=32, le=65536)
    """Maximum number of input tokens per conversation, independent of the limit in training."""
    inference_answer_tokens: int = Field(2048, ge=1, le=65536)
    """Maximum number of answer tokens that a caller may request."""
    inference_max_batch_size: int = Field(8, ge=1, le=256)
    """Maximum batch size: requests to one model that are answered at the same time."""


_CHUNK_BYTES = 65536

logger = logging.getLogger(__name__)

ServeArgv = Callable[[InferenceSettings], list[str]]


def inference_argv(settings: InferenceSettings) -> list[str]:
    """Returns the command of the inference process."""
    return [
        sys.executable,
        *("-m", "flant5_train.serving"),
        *("--device", settings.inference_device),
        *("--max-model-bytes", str(settings.inference_model_bytes)),
        *("--max-source-tokens", str(settings.inference_source_tokens)),
        *("--max-answer-tokens", str(settings.inference_answer_tokens)),
        *("--max-rows", str(settings.inference_max_batch_size)),
    ]


def inference_environment(inherited: Mapping[str, str], *, device: str) -> dict[str, str]:
    """Returns the environment of the inference process.

    On the CPU, GPUs are hidden: even an idle CUDA context would take memory from a job.
    """
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    return allowed_environment(inherited) | hidden


class InferenceProcess:
    """A running inference process. The kernel kills it when this process ends."""

    def __init__(self, argv: list[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            preexec_fn=partial(end_with, os.getpid()),
        )
        assert self._process.stdout is not None
        self._stdout = self._process.stdout
        os.set_blocking(self.fileno(), False)
        self._begun = b""
        self._has_ended = False

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """True once its output is closed and completely read."""
        return self._has_ended

    def fileno(self) -> int:
        """Returns a descriptor that is readable when `read` has output to return."""
        return self._stdout.fileno()

    def send(self, order: Order) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(order.model_dump_json().encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            # The end of its output shows that it has exited.
            logger.warning("inference process: cannot send %s", order.type)

    def read(self) -> list[StreamEvent]:
        """Returns the messages since the last call, without waiting."""
        while not self._has_ended:
            try:
                data = os.read(self.fileno(), _CHUNK_BYTES)
            except BlockingIOError:
                break
            self._begun += data
            self._has_ended = not data
        *lines, self._begun = self._begun.split(b"\n")
        try:
            return [parse_event(line) for line in lines]
        except ValidationError:
            logger.exception("inference process: invalid message; terminating it")
            self._has_ended = True
            return []

    def close(self) -> str:
        """Kills it if it is still running. Returns how it ended."""
        self._process.kill()
        code = self._process.wait()
        for pipe in (self._process.stdin, self._stdout):
            try:
                assert pipe is not None
                pipe.close()
            except BrokenPipeError:
                continue
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
