"""Checks the size of the shared memory for the ranks of a trainer."""

import os
from pathlib import Path

from api.cli.doctor.finding import Finding, failed, fine, not_applicable, warning
from api.cli.doctor.surroundings import Host
from api.cli.views.format import size

MIN_BYTES = 2**30
"""Minimum size. The default of containers, 64 MiB, is too little for NCCL and for batches from
data loader processes."""


def check_shared_memory(directory: Path, *, host: Host, trains_here: bool) -> Finding:
    """Checks that `/dev/shm` is large enough if a trainer can run on this host."""
    if not trains_here:
        return not_applicable("torch is not installed; compose sets the size for its containers")
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
    expected = f"at least {size(MIN_BYTES)}: NCCL and data loading use it"
    if host.in_container:
        return failed(found, expected=expected, remedy="FLANT5_SHM_SIZE=8g in .env (--shm-size)")
    remedy = f"sudo mount -o remount,size=8g {directory}"
    return warning(found, expected=expected, remedy=remedy)
