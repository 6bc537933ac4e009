"""Where the doctor itself runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

_ENGINE_MARKS = (".dockerenv", "run/.containerenv")
_PCI_DEVICES = "sys/bus/pci/devices"
_NVIDIA = "0x10de"
_DISPLAY = "0x03"


@dataclass(frozen=True, slots=True)
class Host:
    """What decides which checks apply."""

    in_container: bool
    """A container of Docker or Podman: each engine leaves a file of its own."""
    has_card: bool
    """An NVIDIA GPU is plugged in, with or without a driver. A container sees all cards of its
    machine, and need not be given any: there it is False."""

    @classmethod
    def look(cls, root: Path = Path("/")) -> Self:
        in_container = any((root / mark).exists() for mark in _ENGINE_MARKS)
        has_card = not in_container and any(map(_is_card, (root / _PCI_DEVICES).glob("*")))
        return cls(in_container=in_container, has_card=has_card)

    @property
    def without_gpu(self) -> str:
        """What it means that none is to be seen."""
        if self.in_container:
            return "no GPU is given to this container"
        return "no NVIDIA GPU: training runs on the CPU"


def _is_card(device: Path) -> bool:
    try:
        vendor, kind = (device / "vendor").read_text(), (device / "class").read_text()
    except OSError:
        return False  # unplugged meanwhile
    return vendor.strip() == _NVIDIA and kind.startswith(_DISPLAY)
