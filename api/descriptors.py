"""Room for open connections: each live stream is a file descriptor."""

import logging
import resource

_OTHERS = 512
"""Files, connections to Redis, requests in progress, and clients that are told to come back."""

_log = logging.getLogger(__name__)


def allow_connections(num_streams: int) -> None:
    """Raises this process's limit of open files as far as that takes and may be: many systems
    begin with 1,024, which 1,000 streams and what is beside them pass."""
    wanted = num_streams + _OTHERS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if allowed < wanted:
        _log.warning(
            "at most %d files may be open (hard limit), which are too few for %d live streams; "
            "raise it with `ulimit -n`, or lower FLANT5_MAX_STREAM_CLIENTS",
            hard,
            num_streams,
        )
    if allowed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
