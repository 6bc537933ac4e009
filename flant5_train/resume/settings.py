"""Learning rate and other optimizer settings when a checkpoint is resumed with new values."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.optim.lr_scheduler import LambdaLR


@contextmanager
def settings_of_this_run(optimizer: Any, scheduler: Any) -> Iterator[None]:
    """Keeps this run's settings while a checkpoint's optimizer and scheduler are loaded.

    Their states are loaded, but the settings of each group (learning rate, decay, ...) stay. torch
    loads both. Without this, a new `learning_rate` would have no effect.
    """
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
        # The rates of the next step, which the last step would have set.
        shares = [share(scheduler.last_epoch) for share in scheduler.lr_lambdas]
        scheduler._last_lr = [rate * share for rate, share in zip(rates, shares, strict=True)]
        for group, rate in zip(optimizer.param_groups, scheduler._last_lr, strict=True):
            group["lr"] = rate
