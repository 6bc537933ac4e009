"""Redis side of the contract: jobs, queue, leases, outboxes and the inference queue.

`store.JobStore` is the entry point, `leases.Leases` serves the workers, and `history.JobHistory`
reads events and log lines. Each step of a job is one Lua script. The docstrings of `store`,
`inference` and `queue_status` list the keys.

May import `worker.jobs`, and `flant5_train.protocol` or `flant5_train.config`.
"""
