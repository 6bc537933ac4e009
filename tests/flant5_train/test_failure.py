import errno
from pathlib import Path

import pytest
import torch

from flant5_train.diagnosis import failure_code
from flant5_train.failure import Failure, FailureCode, TrainingError, read_failure
from flant5_train.place import DataError


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
