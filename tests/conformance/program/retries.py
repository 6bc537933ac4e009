"""A slow network makes one job out of one submission, and two out of two."""

from tests.conformance.program.context import Context, submit, talks
from tests.conformance.program.slow_network import slow_network

PATIENCE_SECONDS = 3.0
"""The client's; a third try has to be answered within it."""


def answers_that_come_too_late_make_one_job(context: Context) -> None:
    _submit_through_a_slow_network(context, holds_requests=False)


def requests_that_arrive_after_their_own_retry_make_one_job(context: Context) -> None:
    _submit_through_a_slow_network(context, holds_requests=True)


def _submit_through_a_slow_network(context: Context, *, holds_requests: bool) -> None:
    name = f"slow {holds_requests}"
    with context.client() as client:
        file = talks(client)
    with slow_network(context.url, num_slow=2, holds_requests=holds_requests) as (network, url):
        with context.client(url=url, timeout=PATIENCE_SECONDS, max_retries=2) as client:
            job_id = submit(client, file, metadata={"network": name}).id
        assert network.num_connections == 3
        network.release()
    with context.client() as client:
        jobs = client.fine_tuning.jobs
        found = [job.id for job in jobs.list(metadata={"network": name})]
        assert found == [job_id], found
        jobs.cancel(job_id)


def two_equal_submissions_make_two_jobs(context: Context) -> None:
    with context.client() as client:
        file = talks(client)
        first, second = (submit(client, file, seed=1).id for _ in range(2))
        assert first != second
        for job_id in (first, second):
            client.fine_tuning.jobs.cancel(job_id)
