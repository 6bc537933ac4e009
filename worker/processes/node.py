"""The part of a run that is on one machine, as torchrun is told it."""

from dataclasses import dataclass

from worker.jobs.gang import Rendezvous


@dataclass(frozen=True, slots=True)
class Node:
    """One of `num_nodes`; a run on one machine needs no rendezvous."""

    num_processes: int
    number: int = 0
    """Rank 0 is on node 0, which is the leader's: its progress and log are the job's."""
    num_nodes: int = 1
    rendezvous: Rendezvous | None = None
    run_id: str = ""
    """Keeps apart the attempts that meet at one place."""
