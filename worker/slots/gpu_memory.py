"""GPU memory sizes as reported by nvidia-smi. Used only for plans."""

import logging
import subprocess
from collections.abc import Sequence

from worker.slots.slot import Slot

_SMI_SECONDS = 60.0
_QUERY = ("nvidia-smi", "--query-gpu=uuid,memory.total", "--format=csv,noheader,nounits")
_MIB = 2**20

logger = logging.getLogger(__name__)


def smallest_gpu(slots: Sequence[Slot], *, command: Sequence[str] = _QUERY) -> int | None:
    """Returns the memory of the smallest of these GPUs, in bytes.

    None for CPU slots, for MIG partitions (nvidia-smi reports only whole GPUs), and if nvidia-smi
    reports no size.
    """
    if not all(slot.is_gpu for slot in slots):
        return None
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SMI_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("GPU memory is unknown; plans cannot use it: %s", error)
        return None
    sizes = dict(filter(None, map(_size, done.stdout.splitlines())))
    found = [sizes.get(slot.name) for slot in slots]
    known = [size for size in found if size is not None]
    return min(known) if known and len(known) == len(found) else None


def _size(line: str) -> tuple[str, int] | None:
    """
    >>> _size("GPU-5d5b, 81559"), _size("GPU-77aa, [N/A]")
    (('GPU-5d5b', 85520809984), None)
    """
    uuid, _, mebibytes = line.partition(",")
    return (uuid.strip(), int(mebibytes) * _MIB) if mebibytes.strip().isdigit() else None
