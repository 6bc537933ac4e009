"""Attention within each pair of a packed row, for CPUs and GPUs.

`packed.encode` and `packed.decode` run T5's stacks over the row. `packed.kernel_for` selects
`triton.TritonKernel` for GPUs or `segments.SegmentKernel` for all other devices.

May import torch and transformers, and nothing of `flant5_train` outside of this package.
"""
