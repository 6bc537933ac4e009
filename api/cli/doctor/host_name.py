"""Checks the host name. Multi-host jobs use its address as rendezvous, and torch resolves it."""

import ipaddress
import socket

from api.cli.doctor.finding import Finding, fine, warning

_EXPECTED = "a name that resolves to an address of this host; only multi-host jobs need it"
_REMEDY = (
    "add the name with this host's address to /etc/hosts or DNS; for multi-host jobs, set "
    "FLANT5_NODE_ADDRESS to an address that the other hosts can reach"
)


def check_host_name(name: str, *, node_address: str | None) -> Finding:
    """Resolves the name and tries to bind its addresses."""
    if node_address is not None:
        return fine(f"FLANT5_NODE_ADDRESS is {node_address}")
    try:
        addresses = _addresses(name)
    except OSError as error:
        reason = error.strerror or str(error)
        found = f"the host name {name} does not resolve ({reason})"
        return warning(found, expected=_EXPECTED, remedy=_REMEDY)
    if foreign := [address for address in addresses if not _is_ours(address)]:
        found = f"the host name {name} resolves to {', '.join(foreign)}, not to this host"
        return warning(found, expected=_EXPECTED, remedy=_REMEDY)
    shown = f"{name} resolves to {', '.join(addresses)}"
    if all(ipaddress.ip_address(address).is_loopback for address in addresses):
        return fine(f"{shown} (loopback); multi-host jobs need FLANT5_NODE_ADDRESS")
    return fine(shown)


def _addresses(name: str) -> list[str]:
    """Returns the addresses without zones of link-local addresses. Raises OSError."""
    found = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    return sorted({str(address[4][0]).partition("%")[0] for address in found})


def _is_ours(address: str) -> bool:
    if ipaddress.ip_address(address).is_link_local:
        return True  # can't be bound without its zone
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
