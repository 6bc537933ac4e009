"""Limit of open file descriptors. Each live stream uses one."""

import logging
import resource

_OTHERS = 512
"""Descriptors for files, Redis connections, requests in progress, and rejected clients."""

_log = logging.getLogger(__name__)


def allow_connections(num_streams: int) -> None:
    """Raises this process's limit of open files, up to the hard limit. Many systems default to
    1,024, too few for 1,000 streams and everything else."""
    wanted = num_streams + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if allowed < wanted:
        _log.warning(
            "open files: hard limit %d is too low for %d live streams; "
            "raise it with `ulimit -n`, or lower FLANT5_MAX_STREAM_CLIENTS",
            hard,
            num_streams,
        )
    if allowed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
