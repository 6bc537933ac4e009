"""Commands of the command line, one module per group of commands.

`jobs` submits jobs and changes their state, `watch.watch_job` follows a job until it ends, and
`plan.dry_run` estimates one. `api.cli.main` registers all commands.

May import `api.cli`, `api.auth`, `worker.jobs` and `flant5_train.config`. Requests go through
`api.cli.client`. Only `keys` and `flant5 adopt` need the server's host: they access its API keys
file and its Redis.
"""
