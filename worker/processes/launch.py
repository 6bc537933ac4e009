"""Command line and environment of a trainer.

The environment is built from an allowlist, `environment_policy.PASSED`.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from worker.jobs.storage.paths import RunDirectory
from worker.processes.environment_policy import allowed_environment
from worker.processes.node import Node

TRAINER_MARK = "FLANT5_RUN_DIRECTORY"
"""Variable that marks all processes of a trainer. torchrun's variables are unsuitable: their values
differ between ranks."""

WORKER_PROCESS = "FLANT5_WORKER_PROCESS"
"""Variable with the id of the process that started the trainer."""
HELD_LOCKS = "FLANT5_HELD_LOCKS"
"""Variable with the lock files that a rank shares. A JSON array, since a path may contain any
character."""

NODE_MARK = "FLANT5_RUN_NODE"
"""Variable that marks the processes of one worker in a multi-node run: several workers of a run may
share one machine."""

MEET_SECONDS = 180
"""Seconds within which all nodes must reach the rendezvous. They start within seconds, but a
firewall may block them."""

LOOPBACK_ADDRESS = "127.0.0.1"
"""Address of the rendezvous store of a single-node run. Linux assigns it to every loopback
interface, even with IPv6 only."""

ONE_NODE_ENVIRONMENT = {"GLOO_SOCKET_IFNAME": "lo"}
"""Defaults of a single-node run. Without this, gloo resolves the host's own name in each rank."""

TrainerArgv = Callable[[Path, Node, float], list[str]]
"""(run.json, this machine's node, grace seconds) -> the training command."""


def torchrun_argv(run_config: Path, node: Node, grace_seconds: float) -> list[str]:
    """Returns torchrun's command for one node.

    torchrun must not restart: the service retries, where attempts are counted and visible.
    """
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
    """Returns torchrun's rendezvous options.

    One node: its own store on the loopback address, never on the host name or `localhost`.
    `--standalone` uses both, and retries for ten minutes on a host that resolves neither (torch
    2.13). Several nodes: the static rendezvous, which keeps the given node numbers. The dynamic
    ones number nodes by address, which could put rank 0 on any node.
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
    """Returns the value that marks this worker's processes of a run."""
    return f"{run_directory.path}@{worker_name}"


def mark_of(environment: Mapping[str, str]) -> str:
    """Returns NAME=value, which identifies the processes started with this environment."""
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
    """Returns the environment of torchrun, as started by this process.

    Cores are divided among the ranks unless OMP_NUM_THREADS is set. The ranks share `held_locks`
    (`flant5_train.process`). They see the GPUs in `visible_devices`; None means those visible to
    this process. () keeps a trainer on CPU slots from using a GPU.
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
