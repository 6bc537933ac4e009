"""Execution of jobs: claim -> trainer -> progress -> outcome, under a lease.

`runner.run_job` handles a wake-up, `attempt.Attempt` runs one attempt, `monitor.TrainerMonitor`
monitors its trainer, and `gang` coordinates attempts on several nodes.

May import `worker.jobs`, `worker.failures`, `worker.processes`, `worker.slots`, `worker.context`,
`worker.settings`, and `flant5_train.protocol` or `flant5_train.config`. It never imports the API or
the controller.
"""
