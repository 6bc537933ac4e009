"""Whether slots work: real probe processes, with a CUDA driver of our own where GPUs are meant.

The driver is an object in Python, and where there is a C compiler also a library that the probe
loads as it would load NVIDIA's.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.worker.scenes import is_alive, read_pids, wait_until
from tests.worker.workshop import PROGRAMS
from worker.slots.gpu_health import probe, probe_argv, probe_argv_of
from worker.slots.slot import Slot

CPUS = (Slot("cpu-w-0"), Slot("cpu-w-1"))


GPUS = (Slot("GPU-a"), Slot("GPU-b"))


CALLS = [
    "cuInit",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuCtxCreate_v2",
    "cuMemAlloc_v2",
    "cuMemcpyHtoD_v2",
    "cuMemcpyDtoH_v2",
    "cuMemFree_v2",
    "cuCtxDestroy_v2",
]
"""All that the probe calls of the driver, in order."""


COMPILER = shutil.which("gcc") or shutil.which("cc")


@pytest.fixture(scope="session")
def fake_cuda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a libcuda.so.1."""
    if COMPILER is None:
        pytest.skip("no C compiler here: the driver is only tested as a Python object")
    directory = tmp_path_factory.mktemp("fake_cuda")
    source = Path(__file__).with_name("fake_cuda.c")
    target = str(directory / "libcuda.so.1")
    command = [COMPILER, "-Wall", "-Werror", "-shared", "-fPIC", "-o", target, str(source)]
    subprocess.run(command, check=True)
    return directory


@pytest.fixture
def cuda(fake_cuda: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Probes find the fake driver; set CUDA_FAKE_... to break it."""
    monkeypatch.setenv("LD_LIBRARY_PATH", str(fake_cuda))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")  # the worker's, which must not matter
    return monkeypatch


def outcome(slots: tuple[Slot, ...], **options: object) -> str | None:
    return probe(slots, **({"timeout_seconds": 60.0} | options))  # type: ignore[arg-type]


def python(code: str) -> Callable[[tuple[Slot, ...]], list[str]]:
    return lambda slots: [sys.executable, "-c", code, *(slot.name for slot in slots)]


def test_cpu_slots_that_work_are_healthy() -> None:
    assert outcome(CPUS) is None


def test_a_gpu_slot_without_a_driver_is_sick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is found first, wherever a real driver may be.
    (tmp_path / "libcuda.so.1").write_text("no library")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    reason = outcome(GPUS)
    assert reason is not None
    assert reason.startswith("slot GPU-a, GPU-b: no CUDA driver: ")


@pytest.mark.usefixtures("cuda")
def test_gpu_slots_that_work_are_healthy() -> None:
    assert outcome(GPUS) is None
    assert outcome((*GPUS, *CPUS)) is None


@pytest.mark.parametrize("call", CALLS)
def test_a_call_of_the_library_that_fails_makes_the_slot_sick(
    cuda: pytest.MonkeyPatch, call: str
) -> None:
    of_second = call not in CALLS[:2]
    cuda.setenv("CUDA_FAKE_FAILS", f"{call}:{int(of_second)}")
    slot = "GPU-b" if of_second else "GPU-a, GPU-b"
    assert outcome(GPUS) == f"slot {slot}: {call} failed: unknown error (error 999)"


def test_a_byte_that_comes_back_changed_makes_the_slot_sick(cuda: pytest.MonkeyPatch) -> None:
    cuda.setenv("CUDA_FAKE_FLIPS", "cuMemcpyDtoH_v2:1")
    reason = outcome(GPUS)
    assert reason is not None
    assert reason.startswith("slot GPU-b: 1 of ")


@pytest.mark.usefixtures("cuda")
def test_only_the_slots_asked_for_are_seen_by_the_library() -> None:
    names = (Slot("GPU-a"), Slot("gone-b"), Slot("GPU-c"))
    reason = "slot gone-b: CUDA sees 1 of the 3 GPUs GPU-a, gone-b, GPU-c"
    assert outcome(names) == reason


def test_a_driver_that_hangs_is_unhealthy_and_is_killed(cuda: pytest.MonkeyPatch) -> None:
    cuda.setenv("CUDA_FAKE_HANGS", "cuCtxCreate_v2:0")
    assert outcome(GPUS, timeout_seconds=3.0) == "unhealthy: no answer within 3 s"


def test_a_probe_that_hangs_is_killed_with_what_it_started(tmp_path: Path) -> None:
    argv = probe_argv_of(f"sh -c 'sleep 1000 & echo $! > {tmp_path}/sleep.pid; wait'")
    assert outcome(CPUS, argv=argv, timeout_seconds=3.0) == "unhealthy: no answer within 3 s"
    (pid,) = read_pids(tmp_path)
    wait_until(lambda: not is_alive(pid), what="the grandchild ends")


def test_a_probe_ends_with_its_worker(tmp_path: Path) -> None:
    hangs = f"[{sys.executable!r}, {str(PROGRAMS / 'hangs.py')!r}, {str(tmp_path)!r}]"
    code = (
        "from worker.slots.gpu_health import probe; "
        f"probe((), argv=lambda _: {hangs}, timeout_seconds=600)"
    )
    worker = subprocess.Popen([sys.executable, "-c", code])
    wait_until(lambda: read_pids(tmp_path), what="the probe runs")
    worker.kill()
    worker.wait()
    (pid,) = read_pids(tmp_path)
    wait_until(lambda: not is_alive(pid), what="the probe ends")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("sys.exit('first line\\nECC errors on ' + sys.argv[1])", "ECC errors on cpu-w-0"),
        ("print('fine'); sys.exit(3)", "the probe ended with exit code 3 and wrote no output"),
        ("os.kill(os.getpid(), 11)", "the probe was killed by signal 11 and wrote no output"),
    ],
)
def test_the_reason_is_the_last_line_or_how_the_probe_ended(code: str, reason: str) -> None:
    assert outcome(CPUS, argv=python(f"import os, sys; {code}")) == reason


def test_a_long_reason_is_cut() -> None:
    assert outcome(CPUS, argv=python("import sys; sys.exit('x' * 10_000)")) == "x" * 500


def test_a_check_of_the_site_gets_the_slots_and_decides(tmp_path: Path) -> None:
    seen = tmp_path / "seen by it"
    command = f'sh -c \'echo "$@" > "{seen}"\' site-check --all'
    assert outcome(CPUS, argv=probe_argv_of(command)) is None
    assert seen.read_text() == "--all cpu-w-0 cpu-w-1\n"
    assert probe_argv_of(None) is probe_argv


def test_a_check_of_the_site_that_is_not_there_makes_the_slots_sick() -> None:
    reason = outcome(CPUS, argv=probe_argv_of("/no/such/check"))
    assert reason is not None
    assert reason.startswith("cannot start the probe: ")
    assert "/no/such/check" in reason


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "FLANT5_PROBE_COMMAND is ''; expected a command"),
        ("  ", "FLANT5_PROBE_COMMAND is '  '; expected a command"),
        ("check 'x", "No closing quotation; expected a command in shell syntax"),
    ],
)
def test_a_check_of_the_site_that_is_no_command_is_refused(command: str, message: str) -> None:
    with pytest.raises(ValueError, match="FLANT5_PROBE_COMMAND") as caught:
        probe_argv_of(command)
    assert message in str(caught.value)


def test_a_person_can_ask_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "worker.slots.gpu_selftest"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "no slot given; expected: python -m worker.slots.gpu_selftest SLOT...\n"


@pytest.mark.usefixtures("cuda")
def test_the_process_that_asks_loads_no_driver_itself() -> None:
    code = (
        "import worker.app; from pathlib import Path\n"
        "from worker.slots.gpu_health import probe; from worker.slots.slot import Slot\n"
        "assert probe((Slot('GPU-a'),), timeout_seconds=60) is None\n"
        "assert 'libcuda' not in Path('/proc/self/maps').read_text()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
