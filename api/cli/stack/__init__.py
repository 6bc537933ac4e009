"""`flant5 up`: runs the whole service on one machine.

`up` is the command, `stack.Stack` holds the child processes, and `redis.EmbeddedRedis` runs a
Valkey or Redis server for machines without one.

May import `api.cli.client`, `api.cli.settings`, `api.cli.views` and `worker.jobs`, and the settings
of the API. It starts all processes as programs, and imports no other code of theirs.
"""
