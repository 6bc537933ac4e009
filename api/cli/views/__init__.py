"""Output of commands: tables, JSON, the live view of a job, logs and charts.

`format` prints tables and JSON, `live.follow_stream` reads an event stream with reconnects, and
`watch.WatchView` draws a running job.

May import `api.cli.client`, `api.cli.settings` and `worker.jobs.job`. It imports no other
command: `jobs` is itself `flant5 jobs`.
"""
