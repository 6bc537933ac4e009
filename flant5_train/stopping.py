"""Stopping on SIGTERM: at once before training, with a checkpoint during it."""

import signal
from types import FrameType

import torch
import torch.distributed as dist


class StopRequested(BaseException):
    """Raised where nothing has to be saved. Like KeyboardInterrupt not an Exception, so that no
    handler of errors takes it for one."""


class StopSignal:
    """Whether this run was told to stop, and whether all its processes know.

    A signal before `defer` raises StopRequested where it finds the process; one after it is only
    remembered, until `agreed` is asked at the end of a step.
    """

    def __init__(self) -> None:
        self._received = False
        self._deferred = False
        self._group: dist.ProcessGroup | None = None

    def listen(self) -> None:
        signal.signal(signal.SIGTERM, self._on_signal)

    def defer(self) -> None:
        """From here on a stop waits for the end of the step. Called by all processes together."""
        self._deferred = True
        if dist.is_initialized() and dist.get_world_size() > 1:
            # On the CPU, so that asking does not wait for the GPU.
            self._group = dist.new_group(backend="gloo")

    def agreed(self) -> bool:
        """Whether any process was told to stop. All processes ask together and get the same
        answer: one that stopped alone would leave the others waiting for it for ever."""
        if self._group is None:
            return self._received
        flag = torch.tensor(int(self._received))
        dist.all_reduce(flag, op=dist.ReduceOp.MAX, group=self._group)
        return bool(flag.item())

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        self._received = True
        if not self._deferred:
            raise StopRequested
