import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.distributed as dist

from flant5_train.data.errors import DataError
from flant5_train.disk import disk_full_context
from flant5_train.protocol.failure import (
    Failure,
    FailureCode,
    TrainingError,
    failure_code,
    read_failure,
    reserve_failure_space,
)
from tests.small_disk import fill, free_bytes, small_disk


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DataError("x"), FailureCode.BAD_DATA),
        (TrainingError(FailureCode.NAN_LOSS, "x"), FailureCode.NAN_LOSS),
        (torch.OutOfMemoryError("CUDA out of memory"), FailureCode.CUDA_OOM),
        (MemoryError(), FailureCode.HOST_OOM),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), FailureCode.WORKER_LOST),
        (OSError(errno.ENOSPC, "No space left on device"), FailureCode.DISK_FULL),
        (RuntimeError("write failed: No space left on device"), FailureCode.DISK_FULL),
        (RuntimeError("[gloo/transport] Connection closed by peer"), FailureCode.WORKER_LOST),
        (RuntimeError("NCCL error in: NCCLUtils.cpp:77, remote error"), FailureCode.WORKER_LOST),
        (dist.DistNetworkError("failed to connect"), FailureCode.WORKER_LOST),
        (RuntimeError("CUDA error: uncorrectable ECC error"), FailureCode.WORKER_LOST),
        (RuntimeError("CUDA error: unspecified launch failure"), FailureCode.WORKER_LOST),
        (RuntimeError("CUDA error: no CUDA-capable device"), FailureCode.WORKER_LOST),
        (RuntimeError("The CUDA driver is shutting down"), FailureCode.WORKER_LOST),
        (RuntimeError("CUDA error: device not ready"), FailureCode.WORKER_LOST),
        (torch.AcceleratorError("CUDA error: unspecified launch failure"), FailureCode.WORKER_LOST),
        (RuntimeError("CUDA error: out of memory"), FailureCode.CUDA_OOM),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), FailureCode.CUDA_OOM),
        (RuntimeError("NCCL error: Cuda failure 2 'out of memory'"), FailureCode.CUDA_OOM),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), FailureCode.HOST_OOM),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), FailureCode.HOST_OOM),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), FailureCode.DISK_FULL),
        (RuntimeError("PytorchStreamWriter failed writing file data/0"), FailureCode.DISK_FULL),
        (RuntimeError("CUDA error: an illegal memory access"), FailureCode.INTERNAL),
        (ImportError("libcudart.so.12: cannot open shared object file"), FailureCode.INTERNAL),
        (RuntimeError("shapes do not match"), FailureCode.INTERNAL),
        (KeyError("x"), FailureCode.INTERNAL),
    ],
)
def test_an_exception_is_put_into_its_class(error: Exception, code: FailureCode) -> None:
    assert failure_code(error) is code


def test_the_first_failure_of_a_run_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "error.json"
    first = DataError("conversation 17: two 'gpt' turns in a row")
    Failure.of(first, code=first.code, rank=1).write_first(path)
    Failure.of(KeyError("later"), code=FailureCode.INTERNAL, rank=0).write_first(path)
    failure = read_failure(path)
    assert failure is not None
    assert failure.message == "conversation 17: two 'gpt' turns in a row"
    assert failure.rank == 1
    assert "DataError" in failure.traceback
    assert [left.name for left in tmp_path.iterdir()] == ["error.json"]


def test_without_a_failure_there_is_none(tmp_path: Path) -> None:
    assert read_failure(tmp_path / "error.json") is None


BIG = torch.zeros(1 << 20)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(bytes(2 << 20)),
        lambda path: torch.save(BIG, path),
        lambda path: safetensors.torch.save_file({"a": BIG}, path),
        lambda path: np.save(path, BIG.numpy()),
    ],
    ids=["bytes", "torch.save", "safetensors", "numpy"],
)
@pytest.mark.parametrize("room", [0, 8192])
def test_whatever_a_library_says_of_a_full_disk_it_is_told_in_a_sentence(
    tmp_path: Path, write: Callable[[Path], object], room: int
) -> None:
    with small_disk(tmp_path / "disk", num_bytes=1 << 20) as disk:
        fill(disk, leaving_bytes=room)
        path = disk / "weights.npy"
        path.touch()
        with (
            pytest.raises(TrainingError) as caught,
            disk_full_context("the weights", disk, undo=path.unlink),
        ):
            write(path)
        assert not path.exists()
        assert free_bytes(disk) == room
    assert caught.value.code is FailureCode.DISK_FULL
    assert f"the weights could not be written to {disk}, where " in str(caught.value)
    assert " bytes are free (" in str(caught.value)


def test_other_errors_while_writing_pass_and_undo_nothing(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.touch()
    with pytest.raises(KeyError), disk_full_context("x", tmp_path, undo=path.unlink):
        raise KeyError
    assert path.exists()


def test_a_failure_finds_its_room_on_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", num_bytes=1 << 20) as disk:
        path = disk / "error.json"
        with pytest.raises(ZeroDivisionError), reserve_failure_space(path):
            print(1 // fill(disk, leaving_bytes=0).name.count("/"))
        failure = Failure(code=FailureCode.DISK_FULL, message="full", traceback="x" * 16_000)
        failure.write_first(path)
        assert read_failure(path) == failure
        assert sorted(left.name for left in disk.iterdir()) == ["ballast", "error.json"]


def test_a_failure_that_finds_no_room_leaves_nothing_half_written(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", num_bytes=1 << 20) as disk:
        fill(disk, leaving_bytes=0)
        failure = Failure(code=FailureCode.DISK_FULL, message="full")
        with pytest.raises(OSError, match="No space left"):
            failure.write_first(disk / "error.json")
        assert [left.name for left in disk.iterdir()] == ["ballast"]


def test_a_good_end_gives_the_room_back(tmp_path: Path) -> None:
    with reserve_failure_space(tmp_path / "run" / "error.json"):
        assert [left.name for left in (tmp_path / "run").iterdir()] == ["error.json.room"]
    assert not list((tmp_path / "run").iterdir())
