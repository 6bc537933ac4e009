"""How a trainer is started: its command line and its environment.

The environment is built from a list of what a trainer needs, `environment_policy.PASSED`.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from worker.jobs.home import RunDirectory
from worker.processes.environment_policy import allowed_environment
from worker.processes.node import Node

TRAINER_MARK = "FLANT5_RUN_DIRECTORY"
"""The variable that marks all processes of a trainer. One of our own: torchrun gives each rank
another value of its variables."""

WORKER_PROCESS = "FLANT5_WORKER_PROCESS"
"""The variable that tells a rank the id of the process that started it all."""
HELD_LOCKS = "FLANT5_HELD_LOCKS"
"""The variable with the lock files that a rank has to share: a JSON array, since a path may hold
any character."""

NODE_MARK = "FLANT5_RUN_NODE"
"""The variable that marks the processes of one worker among those of a run on several nodes: two of
its workers may be on one machine."""

MEET_SECONDS = 180
"""Time in which all nodes have to come to the rendezvous; they start within seconds, but a network
may not let them through."""

LOOPBACK_ADDRESS = "127.0.0.1"
"""The address of the store of a run on one node. Linux gives it to every loopback interface, with
IPv6 alone in use too."""

ONE_NODE_ENVIRONMENT = {"GLOO_SOCKET_IFNAME": "lo"}
"""Defaults for a run on one node. Without this gloo resolves the host's own name in each rank."""

TrainerArgv = Callable[[Path, Node, float], list[str]]
"""(run.json, what of the run is on this machine, grace seconds) -> the command that trains."""


def torchrun_argv(run_config: Path, node: Node, grace_seconds: float) -> list[str]:
    """torchrun for one node. Restarts are ours to make, where they are counted and seen."""
    return [
        sys.executable,
        *("-m", "torch.distributed.run"),
        *_rendezvous(node),
        *("--max-restarts", "0"),
        *("--nproc-per-node", str(node.num_processes)),
        *("--shutdown-timeout", f"{max(1, int(grace_seconds))}"),
        *("-m", "flant5_train.train"),
        str(run_config),
    ]


def _rendezvous(node: Node) -> list[str]:
    """Options for torchrun's rendezvous.

    One node: a store of its own on the loopback address, never on the host's name or `localhost`.
    `--standalone` uses both; on a host that resolves neither it retries for ten minutes (torch
    2.13). Several nodes: the static rendezvous, which keeps the node numbers given here; the
    dynamic ones number nodes by address, and rank 0 could be on any of them.
    """
    if node.rendezvous is None:
        return [
            *("--rdzv-backend", "c10d"),
            *("--rdzv-endpoint", f"{LOOPBACK_ADDRESS}:0"),
            *("--local-addr", LOOPBACK_ADDRESS),
        ]
    return [
        *("--rdzv-backend", "static"),
        *("--rdzv-id", node.run_id),
        *("--rdzv-conf", f"timeout={MEET_SECONDS}"),
        *("--nnodes", str(node.num_nodes)),
        *("--node-rank", str(node.number)),
        *("--master-addr", node.rendezvous.address),
        *("--master-port", str(node.rendezvous.port)),
    ]


def node_mark(run_directory: RunDirectory, worker_name: str) -> str:
    """The value that marks this worker's processes of a run."""
    return f"{run_directory.path}@{worker_name}"


def mark_of(environment: Mapping[str, str]) -> str:
    """NAME=value by which the processes that were started with this environment are found, and no
    other worker's."""
    name = NODE_MARK if NODE_MARK in environment else TRAINER_MARK
    return f"{name}={environment[name]}"


def trainer_environment(
    inherited: Mapping[str, str],
    *,
    num_processes: int,
    run_directory: RunDirectory,
    held_locks: tuple[Path, ...] = (),
    visible_devices: tuple[str, ...] | None = None,
) -> dict[str, str]:
    """Returns the environment of torchrun, started by this process; the cores are shared out among
    the ranks unless OMP_NUM_THREADS is set.

    The ranks share `held_locks` (`flant5_train.process`). They see the GPUs `visible_devices`: with
    () none, which keeps a trainer on CPU slots from a GPU that nobody gave it; with None those that
    this process sees.
    """
    num_cores = len(os.sched_getaffinity(0))
    environment = {
        "OMP_NUM_THREADS": str(max(1, num_cores // num_processes)),
        **allowed_environment(inherited),
        "PYTHONUNBUFFERED": "1",
        TRAINER_MARK: str(run_directory.path),
        "TORCHELASTIC_ERROR_FILE": str(run_directory.torch_error),
        WORKER_PROCESS: str(os.getpid()),
        HELD_LOCKS: json.dumps([str(path) for path in held_locks]),
    }
    if visible_devices is not None:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(visible_devices)
    return environment
