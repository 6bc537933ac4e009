"""`python -m flant5_train.train`, with one thing broken: see `tests.stack.faults`.

A fault strikes in the last rank, most of them in the third step.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.small_disk import fill
from tests.stack.faults import fault_of_run

STEP = 2
"""Steps that go well before."""
GROUP_BYTES = 64 * 2**20


def run_config() -> Path:
    return Path(sys.argv[1])


def fault_of_this_run() -> Path:
    """The file that names the fault; without it nothing is broken."""
    config = json.loads(run_config().read_text(encoding="utf-8"))
    return fault_of_run(run_config(), Path(config["data_path"]))


def in_a_step(strike: Callable[[Any], object]) -> None:
    """`strike` is called with the trainer, in every step from the third on."""
    from flant5_train.training.trainer import ConversationTrainer

    usual = ConversationTrainer.training_step

    def broken(trainer: Any, *args: Any, **kwargs: Any) -> Any:
        if trainer.state.global_step >= STEP:
            strike(trainer)
        return usual(trainer, *args, **kwargs)

    ConversationTrainer.training_step = broken  # type: ignore[method-assign,assignment]


def raise_error(error: Exception) -> None:
    raise error


def cuda_oom() -> None:
    import torch

    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    in_a_step(lambda trainer: raise_error(error))


def broken_gpu_once() -> None:
    fault_of_this_run().unlink()
    in_a_step(
        lambda trainer: raise_error(RuntimeError("CUDA error: uncorrectable ECC error encountered"))
    )


def nan() -> None:
    def spoil(trainer: Any) -> None:
        for weight in trainer.model.parameters():
            weight.data.fill_(float("nan"))

    in_a_step(spoil)


def explosion() -> None:
    """After a dozen good steps."""

    def scale(trainer: Any) -> None:
        if trainer.state.global_step >= 12:
            trainer.model.lm_head.weight.data.fill_(0).add_(1e3 * trainer.state.global_step)
            trainer.model.lm_head.weight.data[::2] *= -1

    in_a_step(scale)


def zero_learning_rate() -> None:
    def flatten(trainer: Any) -> None:
        trainer.lr_scheduler.base_lrs = [0 for _ in trainer.lr_scheduler.base_lrs]

    in_a_step(flatten)


def disk_full() -> None:
    """Before the first checkpoint."""
    in_a_step(lambda trainer: fill(run_config().parents[1], leaving_bytes=100_000))


def host_oom() -> None:
    """The kernel's own doing: this process moves into the memory group that the test made."""

    def eat(trainer: Any) -> None:
        (run_config().parents[2] / "small-group").resolve().write_text(str(os.getpid()))
        eaten = [bytearray(os.urandom(2**20)) for _ in range(4 * GROUP_BYTES // 2**20)]
        assert not eaten, "the kernel let it pass"

    in_a_step(eat)


def killed_once() -> None:
    fault_of_this_run().unlink()
    in_a_step(lambda trainer: os.kill(os.getpid(), signal.SIGKILL))


def segfault() -> None:
    in_a_step(lambda trainer: os.kill(os.getpid(), signal.SIGSEGV))


def sys_exit() -> None:
    in_a_step(lambda trainer: sys.exit(3))


def os_exit() -> None:
    in_a_step(lambda trainer: os._exit(5))


def import_error() -> None:
    sys.modules["accelerate"] = None  # type: ignore[assignment]


def syntax_error() -> None:
    compile("def train(:", "flant5_train/train.py", "exec")


FAULTS = {
    strike.__name__: strike
    for strike in (
        cuda_oom,
        broken_gpu_once,
        nan,
        explosion,
        zero_learning_rate,
        disk_full,
        host_oom,
        killed_once,
        segfault,
        sys_exit,
        os_exit,
        import_error,
        syntax_error,
    )
}

if __name__ == "__main__":
    from flant5_train.train import main

    fault = fault_of_this_run()
    is_last = int(os.environ["RANK"]) == int(os.environ["WORLD_SIZE"]) - 1
    if is_last and fault.exists():
        FAULTS[fault.read_text()]()
    main()
