"""Checks of a process of the service before it starts.

`start_check.wait_for_start` runs all of them. `home_check` tests HOME, `server_check` the Redis
server, and `service_identity.ServiceIdentity` the match of both.

May import `worker.jobs`, and nothing else of this repository.
"""
