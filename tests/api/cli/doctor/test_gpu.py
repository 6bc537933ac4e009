"""GPUs, their driver and the container toolkit, on hosts of every kind."""

from pathlib import Path

import pytest

from api.cli.doctor.check import State
from api.cli.doctor.gpu import (
    Torch,
    check_driver,
    check_gpus,
    check_toolkit,
    installed_torch,
)
from tests.api.cli.doctor.programs import (
    CONTAINER,
    FINDS_NO_ENGINE,
    PLAIN,
    SMI,
    WITH_GPU,
    put,
    put_docker,
)

CUDA_13 = Torch("2.13.0+cu130", cuda=13)
MISMATCH = "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18"


def test_a_host_without_a_gpu_trains_on_its_cpu(programs: Path) -> None:
    toolkit = check_toolkit(PLAIN)
    for finding in (check_gpus(PLAIN), check_driver(PLAIN, torch=CUDA_13), toolkit):
        assert finding.state is State.NOT_APPLICABLE
        assert "training runs on the CPU" in finding.found


def test_a_container_need_not_be_given_a_gpu(programs: Path) -> None:
    driver = check_driver(CONTAINER, torch=None)
    for finding in (check_gpus(CONTAINER), driver, check_toolkit(CONTAINER)):
        assert finding.state is State.NOT_APPLICABLE
        assert finding.found == "this container has no GPU"


def test_gpus_are_listed(programs: Path) -> None:
    put(programs, "nvidia-smi", f"{SMI}\n{SMI}")
    finding = check_gpus(WITH_GPU)
    assert finding.state is State.OK
    assert finding.found == ", ".join(["NVIDIA H100 80GB HBM3 (81559 MiB)"] * 2)


@pytest.mark.parametrize(
    ("script", "found", "remedy"),
    [
        (None, "nvidia-smi is not installed", "nvidia-headless-580-server-open"),
        (MISMATCH, "exited with 18: Failed to initialize NVML", "sudo reboot"),
        (
            "echo 'No devices were found'",
            "lists no GPU: No devices",
            "nvidia-headless-580-server-open",
        ),
    ],
)
def test_a_card_without_a_working_driver_has_failed(
    programs: Path, script: str | None, found: str, remedy: str
) -> None:
    if script is not None:
        put(programs, "nvidia-smi", script)
    finding = check_gpus(WITH_GPU)
    assert finding.state is State.FAILED
    assert found in finding.found
    assert remedy in finding.remedy


@pytest.mark.parametrize(
    ("driver", "torch", "state", "said"),
    [
        ("580.95.05", CUDA_13, State.OK, "CUDA 13.x requires 580"),
        ("580.95.05", None, State.OK, "CUDA 13.x requires 580"),
        ("575.57.08", None, State.FAILED, "580 or newer, for CUDA 13.x"),
        ("550.54.15", Torch("2.13.0+cu128", cuda=12), State.OK, "CUDA 12.x requires 525"),
        ("590.1", Torch("2.13.0+cpu", cuda=None), State.WARNING, "a torch with CUDA"),
        ("[N/A]", None, State.FAILED, "580 or newer"),
    ],
)
def test_the_driver_has_to_run_the_cuda_of_torch(
    programs: Path, driver: str, torch: Torch | None, state: State, said: str
) -> None:
    put(programs, "nvidia-smi", SMI.replace("580.95.05", driver))
    finding = check_driver(WITH_GPU, torch=torch)
    assert finding.state is state
    assert said in finding.found + finding.expected
    assert driver in finding.found


@pytest.mark.parametrize(
    ("version", "requires", "cuda"),
    [
        ("2.13.0+cu130", "sympy", 13),
        ("2.13.0+cpu", "sympy", None),
        ("2.13.0", "nvidia-cuda-runtime-cu12==12.8.90; platform_system == 'Linux'", 12),
        ("2.13.0", "nvidia-cuda-runtime==13.0.96; platform_system == 'Linux'", 13),
        ("2.13.0", "cuda-toolkit[cublas,cudart]==13.0.2; platform_system == 'Linux'", 13),
        ("2.13.0", "sympy", 13),
    ],
)
def test_the_cuda_of_an_installed_torch_is_read_from_its_metadata(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    requires: str,
    cuda: int | None,
) -> None:
    described = tmp_path / f"torch-{version}.dist-info" / "METADATA"
    described.parent.mkdir()
    described.write_text(f"Name: torch\nVersion: {version}\nRequires-Dist: {requires}\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert installed_torch() == Torch(version, cuda=cuda)


def test_docker_knows_the_runtime_or_cdi_devices(programs: Path) -> None:
    put(programs, "nvidia-smi", SMI)
    put_docker(programs, Runtimes={"runc": {}, "nvidia": {}})
    assert check_toolkit(WITH_GPU).state is State.OK
    put_docker(programs, DiscoveredDevices=[{"Source": "cdi", "ID": "nvidia.com/gpu=all"}])
    finding = check_toolkit(WITH_GPU)
    assert (finding.state, "nvidia.com/gpu=all" in finding.found) == (State.OK, True)


def test_a_missing_toolkit_has_failed_and_so_has_one_that_docker_does_not_know(
    programs: Path,
) -> None:
    put(programs, "nvidia-smi", SMI)
    put_docker(programs)
    missing = check_toolkit(WITH_GPU)
    assert (missing.state, "install nvidia-container" in missing.remedy) == (State.FAILED, True)
    put(programs, "nvidia-ctk", "")
    unknown = check_toolkit(WITH_GPU)
    assert unknown.state is State.FAILED
    assert unknown.remedy.startswith("sudo nvidia-ctk runtime configure --runtime=docker")


def test_without_an_engine_the_toolkit_is_not_judged(programs: Path) -> None:
    put(programs, "nvidia-smi", SMI)
    put(programs, "docker", FINDS_NO_ENGINE)
    finding = check_toolkit(WITH_GPU)
    assert finding.state is State.NOT_APPLICABLE
