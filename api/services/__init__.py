"""Business logic behind the routes and the dashboard.

`jobs.submit` creates a job exactly once, `planning.plan_of` estimates one, and `recorder.Recorder`
writes `job.json` before a request is acknowledged.

May import `api.schemas`, `api.http.errors`, `api.http.validation`, `api.dependencies` and
`worker.jobs`, and `flant5_train.protocol` or `flant5_train.config`. It imports no route and no
page.
"""
