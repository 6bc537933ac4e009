"""A running trainer: its command line, its environment, and the handle of its process.

`TrainerProcess` is the handle: the supervisor process and the lifeline to it. `torchrun_argv` has
torchrun's parameters for one node of a run. The environment is built from an allowlist,
`environment_policy.PASSED`.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from worker.jobs.storage.paths import RunDirectory
from worker.jobs.store.leases import Rendezvous
from worker.processes.environment_policy import allowed_environment
from worker.processes.process_tree import catches, descendants

_KILL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class TrainerCommand:
    """The command to run, and its log."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    grace_seconds: float
    """Seconds to exit after `stop`."""
    max_log_bytes: int = 0
    """Log size in bytes beyond which only the last lines are kept. 0 means no limit."""


class TrainerProcess:
    """A running trainer. Start it in the main thread: the kernel kills the tree when the starting
    thread ends.

    `held` are descriptors (locks of the run directory and the slots) that stay open until the whole
    tree has exited.
    """

    def __init__(self, command: TrainerCommand, *, held: tuple[int, ...]) -> None:
        reader, self._lifeline = os.pipe2(os.O_CLOEXEC)
        supervisor = [
            sys.executable,
            "-m",
            "worker.processes.supervisor",
            "--lifeline",
            str(reader),
        ]
        options = ["--grace-seconds", str(command.grace_seconds), "--log", str(command.log)]
        options += ["--max-log-bytes", str(command.max_log_bytes)]
        try:
            self._process = subprocess.Popen(
                [*supervisor, *options, "--", *command.argv],
                env=dict(command.environment),
                stdin=subprocess.DEVNULL,
                pass_fds=(reader, *held),
                start_new_session=True,
            )
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            os.close(reader)

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The supervisor's exit code, which is the command's. For users and tests only: the outcome
        of an attempt is classified by the files it wrote."""
        return self._process.returncode

    def has_ended_within(self, seconds: float) -> bool:
        """Waits up to `seconds`. Returns True if the tree has exited."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> None:
        """Asks the trainer to save and exit. After the grace time the supervisor kills it."""
        self._process.send_signal(signal.SIGTERM)

    def ask_for_stacks(self) -> None:
        """Makes training processes write their stacks to the log, if they still handle signals.

        Only processes with a handler get the signal: it would kill any other process.
        """
        for pid in descendants(self._process.pid):
            if catches(pid, signal.SIGUSR1):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGUSR1)

    def kill(self) -> None:
        """Kills the whole tree at once. The last checkpoint is kept."""
        self._cut_lifeline()
        try:
            self._process.wait(_KILL_SECONDS)
        except subprocess.TimeoutExpired:
            # Stuck, e.g. on a dead file system. Killing the supervisor also kills the tree.
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Closes the lifeline. Kills the tree if it is still running."""
        if self._process.returncode is None:
            self.kill()
        self._cut_lifeline()

    def _cut_lifeline(self) -> None:
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """One of `num_nodes` nodes. A single-node run needs no rendezvous."""

    num_processes: int
    number: int = 0
    """Node 0 is the leader's and has rank 0. Its progress and log are the job's."""
    num_nodes: int = 1
    rendezvous: Rendezvous | None = None
    run_id: str = ""
    """Distinguishes attempts with the same rendezvous address."""


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

TrainerArgv = Callable[[Path, NodeSpec, float], list[str]]
"""(run.json, this machine's node, grace seconds) -> the training command."""


def torchrun_argv(run_config: Path, node: NodeSpec, grace_seconds: float) -> list[str]:
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


def _rendezvous(node: NodeSpec) -> list[str]:
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
