"""Coordination of attempts on several nodes: messages between leader and members in the store.

All of them are fenced by the epoch, and removed when the attempt ends.
"""

from typing import cast

from redis import Redis

from worker.jobs.gang import MemberEnd, MemberNews, Membership, Rendezvous
from worker.jobs.scripts import Scripts
from worker.jobs.store import keys
from worker.jobs.store.redis import unavailable
from worker.jobs.store.serialization import read_job
from worker.jobs.update import Beat, Claim


class Gangs:
    """Gang state. Every method raises StoreUnavailableError when Redis does not answer."""

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._redis = redis
        self._scripts = scripts

    def stand_up(self, worker: str) -> Membership | None:
        """Gives up the worker's seat. Returns its membership if the gang was completed just
        before."""
        answer = self._scripts.run("stand_up", worker)
        return None if answer is None else self.membership(worker, answer)

    def membership(self, worker: str, answer: list[str]) -> Membership:
        """Returns the membership in a script's answer {'member', id, epoch, node}."""
        _, job_id, epoch, node = answer
        with unavailable():
            fields = cast(dict[str, str], self._redis.hgetall(keys.job(job_id)))
        return Membership(
            job=read_job(job_id, fields), epoch=int(epoch), worker=worker, node=int(node)
        )

    def meet(self, claim: Claim, at: Rendezvous) -> bool:
        """Publishes the rendezvous to the members; False if the claim no longer holds the job."""
        return bool(self._scripts.run("meet", claim.job.id, claim.epoch, f"{at.address} {at.port}"))

    def beat(self, membership: Membership) -> tuple[Beat, Rendezvous | None]:
        """Records a heartbeat of a member. Returns LOST if the attempt is over, and the rendezvous
        once it is known."""
        args = (membership.job.id, membership.epoch, membership.worker)
        answer = self._scripts.run("member_beat", *args)
        if answer == "over":
            return Beat.LOST, None
        if not answer:
            return Beat.GO_ON, None
        address, port = answer.split(" ")
        return Beat.GO_ON, Rendezvous(address, int(port))

    def end(self, membership: Membership, end: MemberEnd) -> bool:
        """Reports the end of a node to the leader; False if the attempt is already over."""
        args = (membership.job.id, membership.epoch, membership.worker)
        return bool(self._scripts.run("member_end", *args, end.model_dump_json(), int(end.is_last)))

    def members(self, claim: Claim) -> tuple[MemberNews, ...]:
        """Returns the members by node; empty if the claim no longer holds the job."""
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
