"""Warning about `bf16=true` on a CPU without bfloat16 instructions.

torch is imported inside a function: the forecast also calls this module, in a process that
otherwise needs no torch, or on a machine that has none.
"""

import platform
from importlib.util import find_spec
from pathlib import Path

_CPU_INFO = Path("/proc/cpuinfo")
_NATIVE_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "avx_ne_convert"})
"""Linux's names of the x86 instructions that multiply bfloat16."""
_ADVICE = "set bf16=false, or train on a GPU or on a CPU with AVX512_BF16 or AMX_BF16"


def slow_bfloat16(*, cpu_info: Path = _CPU_INFO) -> str | None:
    """Returns the warning for a run that computes in bfloat16 on the CPU of this machine.

    None if the CPU multiplies bfloat16 natively, or if that is unknown. The factors were measured
    with torch 2.13 on one machine, with its instructions limited by ONEDNN_MAX_CPU_ISA.
    """
    if _onednn_has_bfloat16() is False:
        return (
            "bf16 is true, but this machine's CPU has no bfloat16 instructions and torch emulates "
            f"them: training takes 5 to 19 times as long as in float32; {_ADVICE}"
        )
    flags = _cpu_flags(cpu_info)
    if flags and not flags & _NATIVE_FLAGS:
        # torch reports support for bfloat16 on any CPU with AVX-512.
        factor = "about twice" if "avx512bw" in flags else "5 to 19 times"
        return (
            "bf16 is true, but this machine's CPU has no bfloat16 instructions (none of "
            f"{', '.join(sorted(_NATIVE_FLAGS))} in {cpu_info}): training takes {factor} as long "
            f"as in float32; {_ADVICE}"
        )
    return None


def _onednn_has_bfloat16() -> bool | None:
    """Returns oneDNN's answer, which respects limits set in the environment; None without it."""
    if find_spec("torch") is None:
        return None
    import torch

    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):  # a torch that was built without oneDNN
        return None


def _cpu_flags(cpu_info: Path) -> frozenset[str]:
    """Returns the CPU's features; empty on other architectures and systems."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return frozenset()
    try:
        lines = cpu_info.read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    features = (line.partition(":")[2] for line in lines if line.startswith("flags"))
    return frozenset(next(features, "").split())
