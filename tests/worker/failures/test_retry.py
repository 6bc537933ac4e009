import signal

import pytest

from flant5_train.protocol.failure import FailureCode
from worker.failures.retry import RetryPolicy, policy_for

LOSSES = {FailureCode.WORKER_LOST, FailureCode.KILLED}


@pytest.mark.parametrize("code", FailureCode)
def test_each_failure_has_its_answer(code: FailureCode) -> None:
    expected = RetryPolicy.INFRA_FAILURE if code in LOSSES else RetryPolicy.NEVER
    assert policy_for(code) is (RetryPolicy.ONCE if code is FailureCode.HOST_OOM else expected)


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE"])
def test_a_crash_is_tried_once_more(name: str) -> None:
    killed_by = signal.Signals[name]
    assert policy_for(FailureCode.KILLED, killed_by=killed_by) is RetryPolicy.ONCE


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGUSR1"])
def test_a_signal_that_somebody_sent_is_a_loss(name: str) -> None:
    killed_by = signal.Signals[name]
    assert policy_for(FailureCode.KILLED, killed_by=killed_by) is RetryPolicy.INFRA_FAILURE
