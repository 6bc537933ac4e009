"""Graceful stop on SIGTERM: at once before training, with a checkpoint during training."""

import signal
from types import FrameType

import torch
import torch.distributed as dist


class StopRequested(BaseException):
    """Raised if there is nothing to save.

    Not an Exception, like KeyboardInterrupt: error handlers must not catch it.
    """


class StopSignal:
    """Stop request of a run, shared by all its processes.

    SIGTERM before `defer` raises StopRequested at once. SIGTERM after it is recorded for `agreed`,
    which runs at the end of a step.
    """

    def __init__(self) -> None:
        self._received = False
        self._deferred = False
        self._group: dist.ProcessGroup | None = None

    def listen(self) -> None:
        signal.signal(signal.SIGTERM, self._on_signal)

    def defer(self) -> None:
        """Defers later stops to the end of a step. All processes call it together."""
        self._deferred = True
        if dist.is_initialized() and dist.get_world_size() > 1:
            # On the CPU: the check must not wait for the GPU.
            self._group = dist.new_group(backend="gloo")

    def agreed(self) -> bool:
        """Returns True if any process received SIGTERM.

        All processes call it together and get the same result. Without this, one process would
        stop alone and leave the others waiting forever.
        """
        if self._group is None:
            return self._received
        flag = torch.tensor(int(self._received))
        dist.all_reduce(flag, op=dist.ReduceOp.MAX, group=self._group)
        return bool(flag.item())

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        self._received = True
        if not self._deferred:
            raise StopRequested
