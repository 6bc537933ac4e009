"""Causes of failed attempts, and their consequences for the job.

`evidence.Traces` collects the files and exit codes, `diagnosis.cause_of` finds the cause, and
`outcome.judge` decides about a retry.

May import `worker.jobs`, `worker.processes.supervisor` and `flant5_train.protocol`.
"""
