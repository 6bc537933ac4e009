"""Causes of failed attempts, and their consequences for the job.

`evidence.FailureEvidence` collects the files and exit codes, `diagnosis.cause_of` finds the cause,
and `outcome.classify_outcome` decides about a retry.

May import `worker.jobs`, `worker.processes.supervisor` and `flant5_train.protocol`.
"""
