"""The store's part in attempts on several nodes: what leader and members tell each other.

All of it is fenced by the epoch, and gone when the attempt ends.
"""

from typing import cast

from redis import Redis

from worker.jobs import keys
from worker.jobs.connection import unavailable
from worker.jobs.gang import MemberEnd, MemberNews, Membership, Rendezvous
from worker.jobs.records import read_job
from worker.jobs.scripts import Scripts
from worker.jobs.update import Beat, Claim


class Gangs:
    """Every method raises StoreUnavailableError when Redis does not answer."""

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._redis = redis
        self._scripts = scripts

    def stand_up(self, worker: str) -> Membership | None:
        """The worker waits for others no longer; its part, when they came just before."""
        answer = self._scripts.run("stand_up", worker)
        return None if answer is None else self.membership(worker, answer)

    def membership(self, worker: str, answer: list[str]) -> Membership:
        """What a script's {'member', id, epoch, node} says."""
        _, job_id, epoch, node = answer
        with unavailable():
            fields = cast(dict[str, str], self._redis.hgetall(keys.job(job_id)))
        return Membership(
            job=read_job(job_id, fields), epoch=int(epoch), worker=worker, node=int(node)
        )

    def meet(self, claim: Claim, at: Rendezvous) -> bool:
        """Tells the members where; False when the claim no longer holds the job."""
        return bool(self._scripts.run("meet", claim.job.id, claim.epoch, f"{at.address} {at.port}"))

    def beat(self, membership: Membership) -> tuple[Beat, Rendezvous | None]:
        """A sign of life. LOST when the attempt is over; where to meet, as soon as that is
        known."""
        args = (membership.job.id, membership.epoch, membership.worker)
        answer = self._scripts.run("member_beat", *args)
        if answer == "over":
            return Beat.LOST, None
        if not answer:
            return Beat.GO_ON, None
        address, port = answer.split(" ")
        return Beat.GO_ON, Rendezvous(address, int(port))

    def end(self, membership: Membership, end: MemberEnd) -> bool:
        """Tells the leader; False when the attempt is over anyway."""
        args = (membership.job.id, membership.epoch, membership.worker)
        return bool(self._scripts.run("member_end", *args, end.model_dump_json(), int(end.is_last)))

    def members(self, claim: Claim) -> tuple[MemberNews, ...]:
        """By node; none when the claim no longer holds the job."""
        found = self._scripts.run("members", claim.job.id, claim.epoch)
        return tuple(
            MemberNews(
                worker=name,
                node=number,
                silent_seconds=None if silent_ms < 0 else silent_ms / 1000,
                end=MemberEnd.model_validate_json(end) if end else None,
            )
            for number, (name, silent_ms, end) in enumerate(found, start=1)
        )
