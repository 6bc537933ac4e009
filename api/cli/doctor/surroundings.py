"""Properties of the host on which the doctor runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

_ENGINE_MARKS = (".dockerenv", "run/.containerenv")
_PCI_DEVICES = "sys/bus/pci/devices"
_NVIDIA = "0x10de"
_DISPLAY = "0x03"


@dataclass(frozen=True, slots=True)
class Host:
    """Host properties that determine which checks apply."""

    in_container: bool
    """True in a container of Docker or Podman, detected by the engine's marker file."""
    has_card: bool
    """True if an NVIDIA GPU is installed, with or without a driver. Always False in containers,
    which see all cards of the machine, but may have access to none."""

    @classmethod
    def look(cls, root: Path = Path("/")) -> Self:
        in_container = any((root / mark).exists() for mark in _ENGINE_MARKS)
        has_card = not in_container and any(map(_is_card, (root / _PCI_DEVICES).glob("*")))
        return cls(in_container=in_container, has_card=has_card)

    @property
    def without_gpu(self) -> str:
        """Explanation for a host without a visible GPU."""
        if self.in_container:
            return "this container has no GPU"
        return "no NVIDIA GPU: training runs on the CPU"


def _is_card(device: Path) -> bool:
    try:
        vendor, kind = (device / "vendor").read_text(), (device / "class").read_text()
    except OSError:
        return False  # unplugged meanwhile
    return vendor.strip() == _NVIDIA and kind.startswith(_DISPLAY)
