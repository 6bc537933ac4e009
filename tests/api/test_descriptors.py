"""The limit of open files, in processes of their own: it can't be taken back."""

import subprocess
import sys

import pytest

CODE = """
import logging, resource
from api.__main__ import raise_fd_limit
logging.basicConfig(format="%(message)s")
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
raise_fd_limit({num_streams})
print(resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "num_streams", "after"),
    [(300, 2000, 1000, 1512), (1800, 2000, 1000, 1800), (300, 700, 1000, 700)],
)
def test_the_limit_is_raised_as_far_as_the_streams_need_and_it_may_be(
    soft: int, hard: int, num_streams: int, after: int
) -> None:
    code = CODE.format(soft=soft, hard=hard, num_streams=num_streams)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"({after}, {hard})\n"
    assert ("is too low for 1000 live streams" in done.stderr) is (after < num_streams)
