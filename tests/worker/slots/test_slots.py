"""Which slots a setting names. nvidia-smi is a function, or a small program of that name."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from worker.slots.slot import Slot, list_gpus, slots_of

GPUS = ("GPU-aaaa-1111", "GPU-aabb-2222", "GPU-cccc-3333")
LISTING = """\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-0a1b2c3d-0000-1111-2222-333344445555)
  MIG 1g.10gb     Device  0: (UUID: MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f)
  MIG 1g.10gb     Device  1: (UUID: MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb)
GPU 2: NVIDIA H100 80GB HBM3 (UUID: GPU-ffffffff-0000-1111-2222-333344445555)
"""


def names_of(
    setting: str, *, gpus: tuple[str, ...] = (), environment: Mapping[str, str] | None = None
) -> list[str]:
    slots = slots_of(
        setting, worker_name="w", environment=environment or {}, list_gpus=lambda: gpus
    )
    return [slot.name for slot in slots]


def put_nvidia_smi(directory: Path, script: str) -> None:
    program = directory / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_auto_takes_the_gpus_that_the_environment_shows() -> None:
    shown = {"CUDA_VISIBLE_DEVICES": "GPU-cccc-3333, GPU-aaaa-1111"}
    assert names_of("auto", gpus=GPUS, environment=shown) == ["GPU-cccc-3333", "GPU-aaaa-1111"]


@pytest.mark.parametrize("shown", [{}, {"CUDA_VISIBLE_DEVICES": ""}])
def test_auto_takes_all_gpus_when_the_environment_shows_none(shown: dict[str, str]) -> None:
    assert names_of("auto", gpus=GPUS, environment=shown) == list(GPUS)


@pytest.mark.parametrize(
    ("shown", "gpus"), [({}, ()), ({"CUDA_VISIBLE_DEVICES": "-1"}, GPUS)], ids=["none", "hidden"]
)
def test_auto_takes_the_cores_of_this_process_without_a_gpu(
    shown: dict[str, str], gpus: tuple[str, ...]
) -> None:
    cores = len(os.sched_getaffinity(0))
    assert names_of("auto", gpus=gpus, environment=shown) == [f"cpu-w-{i}" for i in range(cores)]


def test_a_list_is_taken_as_it_is_where_no_gpu_can_be_listed() -> None:
    assert names_of("0, 1") == ["0", "1"]
    assert names_of("GPU-1,MIG-2") == ["GPU-1", "MIG-2"]
    assert names_of("cpu-1,cpu-0", gpus=GPUS) == ["cpu-1", "cpu-0"]


def test_a_gpu_has_one_name_however_it_is_called() -> None:
    assert names_of("2,0", gpus=GPUS) == ["GPU-cccc-3333", "GPU-aaaa-1111"]
    assert names_of("GPU-aab,GPU-aaaa-1111", gpus=GPUS) == ["GPU-aabb-2222", "GPU-aaaa-1111"]


def test_a_slot_is_a_gpu_unless_its_name_says_cpu() -> None:
    assert Slot("0").is_gpu
    assert Slot("GPU-1").is_gpu
    assert not Slot("cpu-w-0").is_gpu


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("", "FLANT5_SLOTS is '': '' is not a slot; expected 'auto', or a list"),
        ("0,,1", "FLANT5_SLOTS is '0,,1': '' is not a slot"),
        ("0,1,", "'' is not a slot"),
        ("gpu0", "'gpu0' is not a slot"),
        ("-1", "'-1' is not a slot"),
        ("00", "'00' is not a slot"),
        ("0 1", "'0 1' is not a slot"),
        ("auto,0", "'auto' is not a slot"),
        ("GPU-", "'GPU-' is not a slot"),
        ("cpu-../x", "'cpu-../x' is not a slot"),
        ("cpu-a\0b", "is not a slot"),
        ("cpu-" + "x" * 300, "a name of 304 bytes; expected at most 200"),
        ("0,cpu-0", "'0' and 'cpu-0' is a GPU and the other is not; expected GPUs only, or CPU"),
        ("cpu-0,cpu-1,cpu-0", "names 'cpu-0' twice; expected each slot once"),
        ("0,GPU-aaaa", "names 'GPU-aaaa-1111' twice"),
        ("3", "GPU 3; expected numbers below 3, as nvidia-smi lists them"),
        ("GPU-dddd", "0 GPUs have a UUID that starts with 'GPU-dddd'; expected one of GPU-aaaa"),
        ("GPU-aa", "2 GPUs have a UUID that starts with 'GPU-aa'"),
    ],
)
def test_a_bad_setting_says_what_was_found_and_what_is_expected(setting: str, message: str) -> None:
    with pytest.raises(ValueError, match="FLANT5_SLOTS is") as caught:
        names_of(setting, gpus=GPUS)
    assert message in str(caught.value)


def test_a_bad_environment_is_named_as_such() -> None:
    with pytest.raises(ValueError, match=r"CUDA_VISIBLE_DEVICES is '0,x': 'x' is not a slot"):
        names_of("auto", environment={"CUDA_VISIBLE_DEVICES": "0,x"})
    with pytest.raises(ValueError, match="CUDA_VISIBLE_DEVICES is 'cpu-0'; expected numbers"):
        names_of("auto", environment={"CUDA_VISIBLE_DEVICES": "cpu-0"})


def test_a_number_means_nothing_where_gpus_are_divided() -> None:
    with pytest.raises(
        ValueError, match="on a machine with MIG partitions; expected UUIDs from GPU-"
    ):
        names_of("0", gpus=("GPU-1", "MIG-2", "MIG-3"))
    assert names_of("MIG-3", gpus=("GPU-1", "MIG-2", "MIG-3")) == ["MIG-3"]


def test_gpus_are_listed_by_uuid_and_divided_ones_by_their_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_nvidia_smi(tmp_path, f'[ "$1" = -L ] || exit 9\ncat <<EOF\n{LISTING}EOF')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert list_gpus() == (
        "GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77",
        "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f",
        "MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb",
        "GPU-ffffffff-0000-1111-2222-333344445555",
    )


def test_a_machine_without_nvidia_smi_has_no_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list_gpus() == ()
    assert caplog.records == []


@pytest.mark.parametrize(
    ("said", "code"), [("it could not reach the driver", 9), ("No devices were found", 6)]
)
def test_a_machine_whose_nvidia_smi_fails_gets_no_slots_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, code: int
) -> None:
    put_nvidia_smi(tmp_path, f"echo {said}; exit {code}")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(ValueError, match=f"nvidia-smi -L exits {code}: {said}; expected a working"):
        slots_of("auto", worker_name="w", environment={})
    assert slots_of("cpu-0", worker_name="w", environment={}) == (Slot("cpu-0"),)
