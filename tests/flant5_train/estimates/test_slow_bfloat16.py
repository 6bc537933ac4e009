import logging
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from flant5_train.estimates import slow_bfloat16 as guard
from flant5_train.estimates.slow_bfloat16 import slow_bfloat16
from flant5_train.protocol.progress import WarningIssued
from tests.flant5_train.here import run_here
from tests.flant5_train.runs import some_examples

AVX2 = "flags\t\t: fpu sse avx avx2 fma"
AVX512 = f"{AVX2} avx512f avx512bw"
on_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the flags are those of x86")


def cpu_info(directory: Path, text: str) -> Path:
    path = directory / "cpuinfo"
    path.write_text(f"processor\t: 0\n{text}\n", encoding="utf-8")
    return path


@on_x86
@pytest.mark.parametrize(
    ("flags", "factor"),
    [
        (AVX2, "takes 5 to 19 times as long"),
        (AVX512, "takes about twice as long"),
        (f"{AVX512} avx512_bf16", None),
        (f"{AVX512} amx_bf16", None),
        (f"{AVX2} avx_ne_convert", None),
        ("model name\t: one that lists no features", None),
    ],
)
def test_a_cpu_without_bfloat16_instructions_is_warned_of_by_its_features(
    flags: str, factor: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a process that has no torch."""
    monkeypatch.setattr(guard, "_onednn_has_bfloat16", lambda: None)
    found = slow_bfloat16(cpu_info=cpu_info(tmp_path, flags))
    assert found is None if factor is None else found is not None and factor in found


@on_x86
@pytest.mark.parametrize(("limit", "is_slow"), [("AVX2", True), ("AVX512_CORE_BF16", False)])
def test_torch_is_asked_for_what_the_cpu_may_use(limit: str, is_slow: bool, tmp_path: Path) -> None:
    able = cpu_info(tmp_path, f"{AVX512} avx512_bf16")
    program = (
        "import sys, pathlib; from flant5_train.estimates.slow_bfloat16 import slow_bfloat16;"
        " assert 'torch' not in sys.modules;"
        " print(slow_bfloat16(cpu_info=pathlib.Path(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(able)],
        env=os.environ | {"ONEDNN_MAX_CPU_ISA": limit},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    if "avx512bw" in guard._cpu_flags(Path("/proc/cpuinfo")) or is_slow:
        assert ("set bf16=false" in done.stdout) is is_slow


@pytest.mark.parametrize(("bf16", "num_warnings"), [(True, 1), (False, 0)])
def test_a_run_in_slow_bfloat16_goes_on_with_a_warning(
    bf16: bool,
    num_warnings: int,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(guard, "_onednn_has_bfloat16", lambda: False)
    with caplog.at_level(logging.WARNING, "flant5_train.training.run"):
        finished = run_here(
            monkeypatch,
            tmp_path / "run",
            model_name_or_path=tiny_model,
            data_path=some_examples(tmp_path / "talks.json", 4),
            max_steps=1,
            bf16=bf16,
        )
    assert finished.exit_code == 0, finished.log
    issued = [each for each in finished.records() if isinstance(each, WarningIssued)]
    found = [each for each in issued if each.param == "bf16"]
    assert len(found) == num_warnings
    assert all("5 to 19 times" in each.message for each in found)
    logged = [line for line in caplog.messages if line.startswith("bf16 is true")]
    assert len(logged) == num_warnings
