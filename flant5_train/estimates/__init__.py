"""Estimates of a run before it starts: operations, GPU memory, and checkpoint sizes.

`memory.estimate_memory` returns the peak on each GPU, `memory_plan.plan_memory` proposes settings
that fit, and `flops.training_flops` counts the operations.

May import `flant5_train.data.pairs` and `flant5_train.config`. Importing it never loads torch,
because forecasts use it too.
"""
