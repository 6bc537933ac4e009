"""Multi-node attempts: the leader's side, the member's side, and a preflight check.

The leader announces the rendezvous, and collects the outcomes of the members. A member runs its
node's trainer and reports to the leader:

    seat -> (the leader claims) -> wait for the rendezvous -> supervisor -> beat -> report the end

Only the leader holds the lease and updates the job. A member kills its trainer if the attempt is
over (outcome, cancellation, lost leader) or Redis does not reply for too long.

The preflight check of a node finds misconfigured hosts before they wait for each other.
"""

import ipaddress
import logging
import os
import socket
import time
from contextlib import closing
from pathlib import Path

from worker.context import WorkerContext
from worker.execution.launch_spec import SPARE_SECONDS, trainer_command
from worker.execution.lease import Lease
from worker.execution.monitor import StopReason
from worker.execution.progress import LostError
from worker.execution.records import read_attempt
from worker.failures.diagnosis import cause_of
from worker.failures.evidence import FailureEvidence, ProcessExit
from worker.failures.outcome import Interrupted, is_lost, root_cause
from worker.jobs.storage.lock import LockedError, share_lock
from worker.jobs.storage.log_format import whole_size
from worker.jobs.storage.paths import RunDirectory
from worker.jobs.store.leases import MemberEnd, Membership, MemberStatus, Rendezvous
from worker.jobs.store.serialization import Claim, Failed, HeartbeatDirective, Succeeded
from worker.processes.process_tree import kill_marked
from worker.processes.trainer_log import TrainerLog
from worker.processes.trainer_process import NODE_MARK, NodeSpec, TrainerProcess, mark_of, node_mark
from worker.settings import WorkerSettings
from worker.slots.slot import HeldSlots

MORE_SECONDS = 1.0
"""Seconds that the leader waits for members beyond the time after which they count as lost."""

logger = logging.getLogger(__name__)


class Gang:
    """The members of an attempt. A single-node job has none, and all methods are no-ops."""

    def __init__(self, claim: Claim, context: WorkerContext, *, lease: Lease) -> None:
        self._claim = claim
        self._context = context
        self._lease = lease
        self._members: tuple[MemberStatus, ...] = ()
        hyperparameters = claim.job.spec.hyperparameters
        self._num_nodes = hyperparameters.num_nodes
        self._num_processes = hyperparameters.num_gpus
        settings = context.settings
        self._silent_seconds = (
            3 * settings.heartbeat_interval_seconds + settings.redis_timeout_seconds
        )

    def publish_rendezvous(self) -> NodeSpec:
        """Publishes the rendezvous to the members and returns the leader's own node.

        Members start their trainers then, so their input files must exist before this call.

        Raises LostError if another worker holds the job.
        """
        if self._num_nodes == 1:
            return NodeSpec(self._num_processes)
        here = rendezvous_of(self._context.settings)
        logger.info(
            "job %s: published rendezvous %s (nodes=%d)", self._claim.job.id, here, self._num_nodes
        )
        meet = self._context.store.gangs.publish_rendezvous
        if not self._lease.retry_until_fenced(lambda: meet(self._claim, here)):
            raise LostError(f"job {self._claim.job.id} is no longer held by this worker")
        return NodeSpec(
            self._num_processes,
            num_nodes=self._num_nodes,
            rendezvous=here,
            run_id=run_id(self._claim.job.id, self._claim.epoch),
        )

    def poll_members(self, stop_reason: StopReason) -> StopReason:
        """Waits briefly for the members' outcomes of a failed attempt.

        A failure on one node breaks the connections of all, and the leader may exit first.

        Raises LostError.
        """
        if self._num_nodes == 1 or stop_reason not in (StopReason.ENDED, StopReason.MEMBER_OVER):
            return stop_reason
        give_up_at = time.monotonic() + self._silent_seconds + MORE_SECONDS
        members = self._context.store.gangs.members
        while True:
            self._members = self._lease.retry_until_fenced(lambda: members(self._claim))
            if all(map(self._is_known, self._members)) or time.monotonic() > give_up_at:
                break
            self._lease.renew()
            time.sleep(self._context.settings.progress_poll_seconds)
        ends = [member.end.kind for member in self._members if member.end is not None]
        return StopReason.MEMBER_STOPPED if "left" in ends or "stops" in ends else stop_reason

    def decide_outcome(
        self, own: Succeeded | Failed | Interrupted
    ) -> Succeeded | Failed | Interrupted:
        """Returns the outcome of the attempt, after `hear`. `own` is the leader's own outcome."""
        if isinstance(own, Succeeded):
            return own
        return root_cause(own, self._members, silent_seconds=self._silent_seconds)

    def log_member_errors(self, log: Path) -> None:
        """Appends the last lines of failed nodes to the job's log, after the outcome is decided."""
        for member in self._members:
            if member.end is not None and member.end.words:
                head = f"[node {member.node}, worker {member.worker}] its last lines:"
                with closing(TrainerLog(log)) as lines:
                    lines.append("stderr", [head, *member.end.words])

    def _is_known(self, member: MemberStatus) -> bool:
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


def preflight_check(run_directory: RunDirectory, rendezvous: Rendezvous) -> str | None:
    """Returns a message for the operator, or None if the node can start.

    The leader writes its files before it publishes the rendezvous, so they must be visible here.
    """
    if not run_directory.run_config.exists():
        return (
            f"{run_directory.run_config}, which the leader wrote, is not on host "
            f"{socket.gethostname()}; expected FLANT5_HOME to be one directory that all workers of "
            "a multi-node job share at the same path"
        )
    attempt = read_attempt(run_directory.attempt)
    if attempt is None or attempt.host == socket.gethostname():
        return None
    if _is_loopback(rendezvous.address):
        return (
            f"worker {attempt.worker} on host {attempt.host} waits for the other workers at "
            f"{rendezvous.address}, which other hosts can't reach; on that host, set "
            "FLANT5_NODE_ADDRESS to its address in the workers' network"
        )
    return None


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:  # a name
        return address == "localhost"


LOCK_SECONDS = 5.0
"""Seconds to wait until the leader's lock is visible. A shared file system may be late."""
NUM_WORDS = 20


class Member:
    """A worker's part in an attempt."""

    def __init__(self, membership: Membership, slots: HeldSlots, context: WorkerContext) -> None:
        self._membership = membership
        self._job = membership.job
        self._slots = slots
        self._context = context
        home = context.settings.home_directories
        self._run_directory = home.run_directory(self._job.id).on_node(membership.node)
        self._rendezvous: Rendezvous | None = None
        self._lease = Lease(self._heartbeat, job_id=self._job.id, settings=context.settings)

    def run(self) -> None:
        """Runs this node until its trainer has exited and the outcome is reported to the leader.

        Raises LostError if the attempt is over, and StoreUnavailableError. No process is left
        running in any case.
        """
        name = self._context.settings.worker_name
        self._kill_strays(f"{NODE_MARK}={node_mark(self._run_directory, name)}")
        while self._rendezvous is None:
            if self._context.is_stopping():
                self._tell(MemberEnd(kind="left", message="its worker is shutting down"))
                return
            self._lease.renew()
            time.sleep(self._context.settings.progress_poll_seconds)
        if (obstacle := preflight_check(self._run_directory, self._rendezvous)) is not None:
            self._tell(MemberEnd(kind="failed", message=obstacle))
            return
        try:
            lock = share_lock(self._run_directory.lock, patience_seconds=LOCK_SECONDS)
        except LockedError as error:
            self._tell(MemberEnd(kind="failed", message=str(error)))
            return
        try:
            self._train(lock, self._rendezvous)
        finally:
            os.close(lock)

    def _train(self, lock: int, rendezvous: Rendezvous) -> None:
        self._run_directory.torch_error.unlink(missing_ok=True)
        log_start = whole_size(self._run_directory.log)
        node, run_directory = self._node(rendezvous), self._run_directory
        command = trainer_command(node, self._slots, self._context, run_directory=run_directory)
        trainer = TrainerProcess(command, held=(lock, *self._slots.descriptors))
        oom_kills = self._context.oom_counter.read()
        try:
            has_ended = self._watch(trainer)
        finally:
            trainer.close()
            self._kill_strays(mark_of(command.environment))
        end = ProcessExit(trainer.exit_code, self._context.oom_counter.read() - oom_kills)
        self._tell(self._end(end, log_start) if has_ended else MemberEnd(kind="left"))

    def _watch(self, trainer: TrainerProcess) -> bool:
        """Returns True if the trainer has exited, False if it must be killed. Raises LostError.

        When this worker shuts down, the leader asks all ranks to save. Without this, these ranks
        would exit first, and the leader's torchrun would wait for this node for minutes.
        """
        settings = self._context.settings
        leaves_at: float | None = None
        while not trainer.has_ended_within(settings.progress_poll_seconds):
            self._lease.renew()
            if leaves_at is None and self._context.is_stopping():
                self._tell(MemberEnd(kind="stops"))
                leaves_at = time.monotonic() + settings.trainer_grace_seconds + SPARE_SECONDS
            if leaves_at is not None and time.monotonic() > leaves_at:
                return False
        return True

    def _end(self, end: ProcessExit, log_start: int) -> MemberEnd:
        if end.exit_code == 0:
            return MemberEnd(kind="done")
        evidence = FailureEvidence.collect(self._run_directory, log_start=log_start, end=end)
        cause = cause_of(evidence, stopped_at=None)
        return MemberEnd(
            kind="failed",
            code=cause.code,
            message=cause.message,
            param=cause.param,
            killed_by=cause.killed_by,
            words=tuple(evidence.last_lines[-NUM_WORDS:]),
        )

    def _node(self, rendezvous: Rendezvous) -> NodeSpec:
        hyperparameters = self._job.spec.hyperparameters
        return NodeSpec(
            hyperparameters.num_gpus,
            number=self._membership.node,
            num_nodes=hyperparameters.num_nodes,
            rendezvous=rendezvous,
            run_id=run_id(self._job.id, self._membership.epoch),
        )

    def _heartbeat(self) -> HeartbeatDirective:
        directive, rendezvous = self._context.store.gangs.heartbeat(self._membership)
        self._rendezvous = self._rendezvous or rendezvous
        return directive

    def _tell(self, end: MemberEnd) -> None:
        end_membership = self._context.store.gangs.end
        is_recorded = self._lease.retry_until_fenced(lambda: end_membership(self._membership, end))
        suffix = "" if is_recorded else "; the attempt was already over"
        logger.info("job %s, node %d: %s%s", self._job.id, self._membership.node, end.kind, suffix)

    def _kill_strays(self, mark: str) -> None:
        """Kills only this worker's processes: the leader may run on the same machine."""
        if strays := kill_marked(mark):
            logger.warning("job %s: killed stray processes %s", self._job.id, strays)
