"""The leader's side of a multi-node attempt: rendezvous, and outcomes of the members."""

import logging
import socket
import time
from contextlib import closing
from pathlib import Path

from worker.context import WorkerContext
from worker.execution.lease import Lease
from worker.execution.monitor import Ending
from worker.execution.progress import LostError
from worker.failures.outcome import Interrupted
from worker.gang.blame import blame, is_lost
from worker.jobs.gang import MemberNews, Rendezvous
from worker.jobs.update import Claim, Failed, Succeeded
from worker.processes.node import Node
from worker.processes.trainer_log import TrainerLog
from worker.settings import WorkerSettings

MORE_SECONDS = 1.0
"""Seconds that the leader waits for members beyond the time after which they count as lost."""

logger = logging.getLogger(__name__)


class Gang:
    """The members of an attempt. A single-node job has none, and all methods are no-ops."""

    def __init__(self, claim: Claim, context: WorkerContext, *, lease: Lease) -> None:
        self._claim = claim
        self._context = context
        self._lease = lease
        self._members: tuple[MemberNews, ...] = ()
        hyperparameters = claim.job.spec.hyperparameters
        self._num_nodes = hyperparameters.num_nodes
        self._num_processes = hyperparameters.num_gpus
        settings = context.settings
        self._silent_seconds = 3 * settings.beat_seconds + settings.redis_timeout_seconds

    def call(self) -> Node:
        """Publishes the rendezvous to the members and returns the leader's own node.

        Members start their trainers then, so their input files must exist before this call.

        Raises LostError if another worker holds the job.
        """
        if self._num_nodes == 1:
            return Node(self._num_processes)
        here = rendezvous_of(self._context.settings)
        logger.info(
            "job %s: published rendezvous %s (nodes=%d)", self._claim.job.id, here, self._num_nodes
        )
        meet = self._context.store.gangs.meet
        if not self._lease.insist(lambda: meet(self._claim, here)):
            raise LostError(f"job {self._claim.job.id} is no longer held by this worker")
        return Node(
            self._num_processes,
            num_nodes=self._num_nodes,
            rendezvous=here,
            run_id=run_id(self._claim.job.id, self._claim.epoch),
        )

    def hear(self, ending: Ending) -> Ending:
        """Waits briefly for the members' outcomes of a failed attempt.

        A failure on one node breaks the connections of all, and the leader may exit first.

        Raises LostError.
        """
        if self._num_nodes == 1 or ending not in (Ending.ENDED, Ending.MEMBER_OVER):
            return ending
        give_up_at = time.monotonic() + self._silent_seconds + MORE_SECONDS
        members = self._context.store.gangs.members
        while True:
            self._members = self._lease.insist(lambda: members(self._claim))
            if all(map(self._is_known, self._members)) or time.monotonic() > give_up_at:
                break
            self._lease.keep()
            time.sleep(self._context.settings.poll_seconds)
        ends = [member.end.kind for member in self._members if member.end is not None]
        return Ending.MEMBER_STOPPED if "left" in ends or "stops" in ends else ending

    def judge(self, own: Succeeded | Failed | Interrupted) -> Succeeded | Failed | Interrupted:
        """Returns the outcome of the attempt, after `hear`. `own` is the leader's own outcome."""
        if isinstance(own, Succeeded):
            return own
        return blame(own, self._members, silent_seconds=self._silent_seconds)

    def tell_words(self, log: Path) -> None:
        """Appends the last lines of failed nodes to the job's log, after the outcome is decided."""
        for member in self._members:
            if member.end is not None and member.end.words:
                head = f"[node {member.node}, worker {member.worker}] its last lines:"
                with closing(TrainerLog(log)) as lines:
                    lines.append("stderr", [head, *member.end.words])

    def _is_known(self, member: MemberNews) -> bool:
        has_told = member.end is not None and member.end.is_last
        return has_told or is_lost(member, self._silent_seconds)


def run_id(job_id: str, epoch: int) -> str:
    """Returns the rendezvous id that only the nodes of this attempt share."""
    return f"{job_id}-{epoch}"


def rendezvous_of(settings: WorkerSettings) -> Rendezvous:
    """Returns the address and port at which other nodes reach this worker."""
    return Rendezvous(
        address=settings.node_address or _own_address(),
        port=settings.node_port or _free_port(),
    )


def _own_address() -> str:
    """Returns the IP address, or the host name if it does not resolve here: it may elsewhere."""
    name = socket.gethostname()
    try:
        return socket.gethostbyname(name)
    except OSError:
        return name


def _free_port() -> int:
    """Returns a free port. If it is taken before torchrun listens, the attempt is retried."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
