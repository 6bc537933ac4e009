"""The member's side of a multi-node attempt: runs its node's trainer and reports to the leader.

    seat -> (the leader claims) -> wait for the rendezvous -> supervisor -> beat -> report the end

Only the leader holds the lease and updates the job. A member kills its trainer if the attempt is
over (outcome, cancellation, lost leader) or Redis does not reply for too long.
"""

import logging
import os
import time

from worker.attempts.command import SPARE_SECONDS, trainer_command
from worker.causes.traces import End, Traces
from worker.context import WorkerContext
from worker.execution.gang import run_id
from worker.execution.lease import Lease
from worker.failures.diagnosis import cause_of
from worker.gang.obstacle import obstacle_to
from worker.jobs.gang import MemberEnd, Membership, Rendezvous
from worker.jobs.lines import whole_size
from worker.jobs.storage.lock import LockedError, share_lock
from worker.jobs.update import Beat
from worker.processes.launch import NODE_MARK, mark_of, node_mark
from worker.processes.node import Node
from worker.processes.process_tree import kill_marked
from worker.processes.trainer_process import TrainerProcess
from worker.slots.slot_locks import HeldSlots

LOCK_SECONDS = 5.0
"""Seconds to wait until the leader's lock is visible. A shared file system may be late."""
NUM_WORDS = 20

logger = logging.getLogger(__name__)


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
        self._lease = Lease(self._beat, job_id=self._job.id, settings=context.settings)

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
            self._lease.keep()
            time.sleep(self._context.settings.poll_seconds)
        if (obstacle := obstacle_to(self._run_directory, self._rendezvous)) is not None:
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
        end = End(trainer.exit_code, self._context.oom_counter.read() - oom_kills)
        self._tell(self._end(end, log_start) if has_ended else MemberEnd(kind="left"))

    def _watch(self, trainer: TrainerProcess) -> bool:
        """Returns True if the trainer has exited, False if it must be killed. Raises LostError.

        When this worker shuts down, the leader asks all ranks to save. Without this, these ranks
        would exit first, and the leader's torchrun would wait for this node for minutes.
        """
        settings = self._context.settings
        leaves_at: float | None = None
        while not trainer.has_ended_within(settings.poll_seconds):
            self._lease.keep()
            if leaves_at is None and self._context.is_stopping():
                self._tell(MemberEnd(kind="stops"))
                leaves_at = time.monotonic() + settings.trainer_grace_seconds + SPARE_SECONDS
            if leaves_at is not None and time.monotonic() > leaves_at:
                return False
        return True

    def _end(self, end: End, log_start: int) -> MemberEnd:
        if end.exit_code == 0:
            return MemberEnd(kind="done")
        traces = Traces.of(self._run_directory, log_start=log_start, end=end)
        cause = cause_of(traces, stopped_at=None)
        return MemberEnd(
            kind="failed",
            code=cause.code,
            message=cause.message,
            param=cause.param,
            killed_by=cause.killed_by,
            words=tuple(traces.words[-NUM_WORDS:]),
        )

    def _node(self, rendezvous: Rendezvous) -> Node:
        hyperparameters = self._job.spec.hyperparameters
        return Node(
            hyperparameters.num_gpus,
            number=self._membership.node,
            num_nodes=hyperparameters.num_nodes,
            rendezvous=rendezvous,
            run_id=run_id(self._job.id, self._membership.epoch),
        )

    def _beat(self) -> Beat:
        beat, rendezvous = self._context.store.gangs.beat(self._membership)
        self._rendezvous = self._rendezvous or rendezvous
        return beat

    def _tell(self, end: MemberEnd) -> None:
        tell = self._context.store.gangs.end
        is_heard = self._lease.insist(lambda: tell(self._membership, end))
        heard = "" if is_heard else "; the attempt was already over"
        logger.info("job %s, node %d: %s%s", self._job.id, self._membership.node, end.kind, heard)

    def _kill_strays(self, mark: str) -> None:
        """Kills only this worker's processes: the leader may run on the same machine."""
        if strays := kill_marked(mark):
            logger.warning("job %s: killed stray processes %s", self._job.id, strays)
