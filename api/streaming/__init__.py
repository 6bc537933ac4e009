"""Live streams of events and log lines, as server-sent events.

`broadcast.StreamBroadcaster` reads Redis once per process for all clients, and `sse.Stream` sends
one client its history and then the live items.

May import `api.schemas`, `api.dependencies`, `api.http.errors` and `worker.jobs`.
"""
