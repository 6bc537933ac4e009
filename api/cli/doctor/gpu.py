"""Checks the GPUs, the driver version that CUDA requires, and GPU access of containers."""

import re
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from api.cli.doctor.check import (
    Finding,
    Host,
    ProgramError,
    ProgramMissingError,
    ask,
    failed,
    fine,
    not_applicable,
    version_in,
    warning,
)
from api.cli.doctor.docker import EngineError, engine_info

MIN_DRIVER = {12: 525, 13: 580}
"""Minimum driver by CUDA major version, for all of its minor versions
(docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html)."""
LOCKED_CUDA = 13
"""CUDA of the torch in the lock file, as published on PyPI for Linux."""

_CDI = ("/etc/cdi", "/var/run/cdi")
_INSTALL_DRIVER = (
    "sudo apt-get install nvidia-headless-580-server-open nvidia-utils-580-server, then reboot"
)
_REBOOT = "sudo reboot: the kernel module is of another driver version"
_CONFIGURE = "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker"


class DriverError(Exception):
    """The GPUs can't be listed. The message contains the reason."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as listed by nvidia-smi."""

    name: str
    driver: str
    memory: str


@dataclass(frozen=True, slots=True)
class Torch:
    """The torch in this Python environment."""

    version: str
    cuda: int | None
    """CUDA major version; None for a build without CUDA."""


def list_gpus() -> tuple[Gpu, ...]:
    """Returns the GPUs; none without nvidia-smi. Raises DriverError."""
    query = "--query-gpu=driver_version,memory.total,name"
    try:
        answer = ask("nvidia-smi", query, "--format=csv,noheader")
    except ProgramMissingError:
        return ()
    except ProgramError as error:
        raise DriverError(str(error)) from error
    if answer.code != 0:
        raise DriverError(f"nvidia-smi exited with {answer.code}: {answer.message}")
    rows = [line.split(", ", 2) for line in answer.out.splitlines() if line.count(", ") >= 2]
    if not rows:
        raise DriverError(f"nvidia-smi lists no GPU: {answer.message}")
    return tuple(Gpu(driver=row[0], memory=row[1], name=row[2]) for row in rows)


def installed_torch() -> Torch | None:
    """Reads torch's version from its metadata, because an import takes seconds. None without torch.

    CUDA comes from the local version, else from the required packages:
    `2.13.0+cu130` and `nvidia-cuda-runtime==13.0.96` -> 13.
    """
    try:
        torch = metadata.distribution("torch")
    except metadata.PackageNotFoundError:
        return None
    if tag := re.search(r"\+(?:cu(\d\d)\d|\w+)", torch.version):
        return Torch(torch.version, cuda=int(tag[1]) if tag[1] else None)
    required = "\n".join(torch.requires or ())
    runtime = re.search(
        r"^nvidia-cuda-runtime-cu(\d+)|^(?:nvidia-cuda-runtime|cuda-toolkit)\b"
        r"[^=\n]*==(\d+)",
        required,
        re.MULTILINE,
    )
    return Torch(torch.version, cuda=int(runtime[1] or runtime[2]) if runtime else LOCKED_CUDA)


def check_gpus(host: Host) -> Finding:
    """Checks that nvidia-smi lists the GPUs."""
    try:
        gpus = list_gpus()
    except DriverError as error:
        remedy = _REBOOT if "mismatch" in str(error) else _INSTALL_DRIVER
        return failed(str(error), expected="the GPUs of this host", remedy=remedy)
    if gpus:
        return fine(", ".join(f"{gpu.name} ({gpu.memory})" for gpu in gpus))
    if host.has_card:
        return failed(
            "an NVIDIA GPU is present, but nvidia-smi is not installed",
            expected="the NVIDIA driver",
            remedy=_INSTALL_DRIVER,
        )
    return not_applicable(host.without_gpu)


def check_driver(host: Host, *, torch: Torch | None) -> Finding:
    """Checks that the driver supports torch's CUDA version."""
    try:
        gpus = list_gpus()
    except DriverError as error:
        return not_applicable(f"cannot list GPUs: {error}")
    if not gpus:
        return not_applicable(host.without_gpu)
    driver = gpus[0].driver
    version = version_in(driver)
    cuda = torch.cuda if torch and torch.cuda else LOCKED_CUDA
    minimum = MIN_DRIVER.get(cuda, max(MIN_DRIVER.values()))
    if version is None or version[0] < minimum:
        return failed(
            f"driver {driver}",
            expected=f"{minimum} or newer, for CUDA {cuda}.x",
            remedy=_INSTALL_DRIVER,
        )
    if torch is not None and torch.cuda is None:
        return warning(
            f"driver {driver}; the installed torch {torch.version} has no CUDA support",
            expected="a torch with CUDA, unless only containers train (they have their own torch)",
            remedy="pip install --force-reinstall torch==2.13.0",
        )
    return fine(f"driver {driver} (CUDA {cuda}.x requires {minimum} or newer)")


def check_toolkit(host: Host) -> Finding:
    """Checks that Docker can give GPUs to containers."""
    if not host.has_card and shutil.which("nvidia-smi") is None:
        return not_applicable(host.without_gpu)
    try:
        info = engine_info(host)
    except EngineError as error:
        return not_applicable(f"cannot query the engine: {error}")
    if "nvidia" in (info.get("Runtimes") or {}):
        return fine("Docker has the nvidia runtime")
    if devices := _cdi_devices(info):
        return fine(f"Docker has CDI devices: {devices}")
    expected = "the nvidia runtime or CDI devices in the output of `docker info`"
    if shutil.which("nvidia-ctk") is None:
        return failed(
            "the NVIDIA container toolkit is not installed",
            expected=expected,
            remedy=f"install nvidia-container-toolkit (docs/deploy.md), then {_CONFIGURE}",
        )
    found = "the NVIDIA container toolkit is installed, but Docker is not configured to use it"
    return failed(found, expected=expected, remedy=_CONFIGURE)


def _cdi_devices(info: dict[str, Any]) -> str:
    """Returns the CDI devices reported by the engine (28.2 and newer), else its CDI files."""
    discovered = [str(device.get("ID", "")) for device in info.get("DiscoveredDevices") or ()]
    if named := [name for name in discovered if name.startswith("nvidia.com/")]:
        return ", ".join(named)
    files = [
        str(file)
        for directory in info.get("CDISpecDirs") or ()
        if directory in _CDI
        for file in Path(directory).glob("*nvidia*")
    ]
    return ", ".join(sorted(files))
