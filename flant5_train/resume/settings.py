"""The learning rate and its like, where a run goes on from a checkpoint with other ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.optim.lr_scheduler import LambdaLR


@contextmanager
def settings_of_this_run(optimizer: Any, scheduler: Any) -> Iterator[None]:
    """Around the loading of a checkpoint's optimizer and scheduler: their states are taken, but the
    settings of each group (learning rate, decay, ...) stay what they were before. torch loads both,
    so that another `learning_rate` would do nothing."""
    settings = [
        {name: value for name, value in group.items() if name != "params"}
        for group in optimizer.param_groups
    ]
    rates = [*getattr(scheduler, "base_lrs", [])]
    yield
    for group, own in zip(optimizer.param_groups, settings, strict=True):
        group.update(own)
    if rates:
        scheduler.base_lrs = rates
    if isinstance(scheduler, LambdaLR):
        # Those of the next step, which the last one would have set.
        shares = [share(scheduler.last_epoch) for share in scheduler.lr_lambdas]
        scheduler._last_lr = [rate * share for rate, share in zip(rates, shares, strict=True)]
        for group, rate in zip(optimizer.param_groups, scheduler._last_lr, strict=True):
            group["lr"] = rate
