"""What keeps two hosts from training together, found before they wait for each other in vain."""

import ipaddress
import socket

from worker.attempts.attempt_record import read_attempt
from worker.jobs.gang import Rendezvous
from worker.jobs.home import RunDirectory


def obstacle_to(run_directory: RunDirectory, rendezvous: Rendezvous) -> str | None:
    """A sentence for whoever set the hosts up; None when the node can begin. What the leader wrote
    before it said where to meet has to be here."""
    if not run_directory.run_config.exists():
        return (
            f"{run_directory.run_config}, which the leader wrote, is not on host "
            f"{socket.gethostname()}; expected FLANT5_HOME to be one directory that all workers of "
            "a job on several nodes share, at the same path"
        )
    attempt = read_attempt(run_directory.attempt)
    if attempt is None or attempt.host == socket.gethostname():
        return None
    if _is_loopback(rendezvous.address):
        return (
            f"worker {attempt.worker} on host {attempt.host} waits for the others at "
            f"{rendezvous.address}, which no other host reaches; expected FLANT5_NODE_ADDRESS "
            "there to be its address in the network of the workers"
        )
    return None


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:  # a name
        return address == "localhost"
