"""Command and environment of the trainer on one node of an attempt."""

from worker.context import WorkerContext
from worker.jobs.storage.paths import RunDirectory
from worker.processes.environment_policy import named_environment
from worker.processes.launch import (
    NODE_MARK,
    ONE_NODE_ENVIRONMENT,
    node_mark,
    trainer_environment,
)
from worker.processes.node import Node
from worker.processes.trainer_process import TrainerCommand
from worker.settings import inherited_environment
from worker.slots.slot_locks import HeldSlots

SPARE_SECONDS = 2.0
"""Seconds that the supervisor waits longer than torchrun. Without this, torchrun would be killed
before it reports why it exits."""


def trainer_command(
    node: Node, slots: HeldSlots, context: WorkerContext, *, run_directory: RunDirectory
) -> TrainerCommand:
    """Returns the trainer command of this node. Its ranks share the locks of the run and slots."""
    grace = context.settings.trainer_grace_seconds
    inherited = inherited_environment()
    environment = named_environment(inherited, context.settings.trainer_environment_names)
    environment |= trainer_environment(
        inherited,
        num_processes=node.num_processes,
        run_directory=run_directory,
        held_locks=(run_directory.lock, *slots.paths),
        visible_devices=slots.visible_devices,
    )
    environment |= context.settings.hub_environment
    if node.rendezvous is None:
        environment = ONE_NODE_ENVIRONMENT | environment
    else:
        environment[NODE_MARK] = node_mark(run_directory, context.settings.worker_name)
    return TrainerCommand(
        argv=context.trainer_argv(run_directory.run_config, node, grace),
        environment=environment,
        log=run_directory.log,
        grace_seconds=grace + SPARE_SECONDS,
        max_log_bytes=context.settings.train_log_bytes,
    )
