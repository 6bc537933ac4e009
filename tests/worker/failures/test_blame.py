"""Which node is blamed for an attempt that failed on all of them."""

import pytest

from flant5_train.protocol.failure import FailureCode
from worker.failures.outcome import Interrupted, root_cause
from worker.failures.retry import RetryPolicy
from worker.jobs.job import JobError
from worker.jobs.store.leases import MemberEnd, MemberStatus
from worker.jobs.store.serialization import Failed

CLOSED = "connection closed by peer"
LOST_OTHER = Interrupted(CLOSED)
BUG = Failed(JobError(code="internal", message="KeyError: 'x'"))
NAN = Failed(JobError(code="nan_loss", message="loss is nan"))
KILLED = Interrupted("killed by signal 9", FailureCode.KILLED)

SILENT = MemberStatus("w1", 1, silent_seconds=9.0, end=None)
ALIVE = MemberStatus("w1", 1, silent_seconds=0.1, end=None)


def said(code: FailureCode, message: str) -> MemberStatus:
    end = MemberEnd(kind="failed", code=code, message=message)
    return MemberStatus("w1", 1, silent_seconds=None, end=end)


ALSO_LOST = said(FailureCode.WORKER_LOST, "connection reset by peer")
SAW_THE_SAME = said(FailureCode.WORKER_LOST, CLOSED)
DIED = said(FailureCode.KILLED, "killed by signal 9")
CRASHED = said(FailureCode.INTERNAL, "exit code 3")
NO_MEMORY = said(FailureCode.HOST_OOM, "out of memory")

GONE = Interrupted("no heartbeat from worker w1")


@pytest.mark.parametrize(
    ("own", "members", "outcome"),
    [
        (NAN, [SILENT], NAN),
        (NAN, [DIED, NO_MEMORY], NAN),
        (
            BUG,
            [NO_MEMORY],
            Interrupted("on worker w1: out of memory", FailureCode.HOST_OOM, RetryPolicy.ONCE),
        ),
        (BUG, [SILENT], GONE),
        (LOST_OTHER, [SILENT], GONE),
        (KILLED, [SILENT], GONE),
        (BUG, [ALIVE], BUG),
        (BUG, [ALSO_LOST], BUG),
        (BUG, [DIED], Interrupted("on worker w1: killed by signal 9", FailureCode.KILLED)),
        (KILLED, [CRASHED, ALSO_LOST], KILLED),
        (
            LOST_OTHER,
            [CRASHED],
            Failed(JobError(code="internal", message="on worker w1: exit code 3")),
        ),
        (LOST_OTHER, [ALSO_LOST], Interrupted("on worker w1: connection reset by peer")),
        (LOST_OTHER, [SAW_THE_SAME], LOST_OTHER),
        (LOST_OTHER, [ALIVE, ALSO_LOST, DIED, SILENT], GONE),
        (BUG, [], BUG),
    ],
)
def test_the_cause_that_explains_the_others_is_blamed(
    own: Failed | Interrupted, members: list[MemberStatus], outcome: Failed | Interrupted
) -> None:
    assert root_cause(own, members, silent_seconds=5.0) == outcome
