"""Preflight check of a node: finds misconfigured hosts before they wait for each other."""

import ipaddress
import socket

from worker.attempts.attempt_record import read_attempt
from worker.jobs.gang import Rendezvous
from worker.jobs.storage.paths import RunDirectory


def obstacle_to(run_directory: RunDirectory, rendezvous: Rendezvous) -> str | None:
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
