"""The host's own name: jobs on several hosts meet at its address, and torch resolves it."""

import ipaddress
import socket

from api.cli.doctor.finding import Finding, fine, warning

_EXPECTED = "a name that stands for an address of this host; a job on one host runs without it"
_REMEDY = (
    "add the name with this host's address to /etc/hosts or to the DNS; for jobs on several hosts "
    "set FLANT5_NODE_ADDRESS to an address that the other hosts reach"
)


def check_host_name(name: str, *, node_address: str | None) -> Finding:
    """Resolves the name and tries to bind what it stands for."""
    if node_address is not None:
        return fine(f"other hosts reach this one at FLANT5_NODE_ADDRESS, {node_address}")
    try:
        addresses = _addresses(name)
    except OSError as error:
        reason = error.strerror or str(error)
        found = f"this host's name, {name}, does not resolve ({reason})"
        return warning(found, expected=_EXPECTED, remedy=_REMEDY)
    if foreign := [address for address in addresses if not _is_ours(address)]:
        found = f"this host's name, {name}, stands for {', '.join(foreign)}, not an address of it"
        return warning(found, expected=_EXPECTED, remedy=_REMEDY)
    shown = f"{name} is {', '.join(addresses)}"
    if all(ipaddress.ip_address(address).is_loopback for address in addresses):
        return fine(f"{shown}, for this host alone; jobs on several hosts need FLANT5_NODE_ADDRESS")
    return fine(shown)


def _addresses(name: str) -> list[str]:
    """Without the zone of a link-local address. Raises OSError."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    return sorted({str(address[4][0]).partition("%")[0] for address in found})


def _is_ours(address: str) -> bool:
    if ipaddress.ip_address(address).is_link_local:
        return True  # it can't be bound without its zone
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
