"""torchrun's parameters for one node of a run."""

from dataclasses import dataclass

from worker.jobs.gang import Rendezvous


@dataclass(frozen=True, slots=True)
class Node:
    """One of `num_nodes` nodes. A single-node run needs no rendezvous."""

    num_processes: int
    number: int = 0
    """Node 0 is the leader's and has rank 0. Its progress and log are the job's."""
    num_nodes: int = 1
    rendezvous: Rendezvous | None = None
    run_id: str = ""
    """Distinguishes attempts with the same rendezvous address."""
