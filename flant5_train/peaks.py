"""Peak FLOPS of GPUs, the base of model FLOPs utilization (MFU)."""

_PEAK_TFLOPS = (
    # Dense bfloat16 on tensor cores with float32 accumulation, without sparsity, from NVIDIA's data
    # sheets and architecture papers. The first entry contained in the device name counts.
    ("GB200", 2500.0),
    ("B200", 2250.0),
    ("H200 NVL", 835.5),
    ("H200", 989.4),
    ("H100 NVL", 835.5),
    ("H100 PCIe", 756.5),
    ("H100", 989.4),
    ("H800", 989.4),
    ("A100", 312.0),
    ("A800", 312.0),
    ("A40", 149.7),
    ("A30", 165.0),
    ("A10G", 70.0),
    ("A10", 125.0),
    ("RTX A6000", 154.8),
    ("RTX 6000 Ada", 364.2),
    ("L40S", 362.1),
    ("L40", 181.1),
    ("L4", 121.0),
    ("RTX 5090", 209.5),
    ("RTX 4090", 165.2),
    ("RTX 3090", 71.0),
)


def peak_flops(device_name: str) -> float | None:
    """Returns floating-point operations per second; None if the device is not in the table.

    >>> peak_flops("NVIDIA H100 80GB HBM3")
    989400000000000.0
    """
    found = (tflops for name, tflops in _PEAK_TFLOPS if name in device_name)
    tflops = next(found, None)
    return None if tflops is None else tflops * 1e12
