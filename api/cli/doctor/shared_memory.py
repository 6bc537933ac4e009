"""Memory that the ranks of a trainer share."""

import os
from pathlib import Path

from api.cli.doctor.finding import Finding, failed, fine, not_applicable, warning
from api.cli.doctor.surroundings import Host
from api.cli.printing import size

MIN_BYTES = 2**30
"""A container has 64 MiB unless it is given more: too little for NCCL between GPUs and for batches
on their way from the processes that load them."""


def check_shared_memory(directory: Path, *, host: Host, trains_here: bool) -> Finding:
    """`/dev/shm` is large enough where a trainer runs."""
    if not trains_here:
        return not_applicable("no torch here, so no trainer; compose gives its container enough")
    try:
        disk = os.statvfs(directory)
    except OSError as error:
        return failed(
            f"{directory}: {error.strerror}",
            expected="a tmpfs",
            remedy=f"sudo mount -t tmpfs -o size=8g tmpfs {directory}",
        )
    total = disk.f_blocks * disk.f_frsize
    found = f"{size(total)} in {directory}"
    if total >= MIN_BYTES:
        return fine(found)
    expected = f"at least {size(MIN_BYTES)}: NCCL and the loading of data pass through it"
    if host.in_container:
        return failed(found, expected=expected, remedy="FLANT5_SHM_SIZE=8g in .env (--shm-size)")
    remedy = f"sudo mount -o remount,size=8g {directory}"
    return warning(found, expected=expected, remedy=remedy)
