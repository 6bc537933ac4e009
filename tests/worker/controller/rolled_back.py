"""A store that can go back to an earlier state, and the controller that is to notice it."""

from dataclasses import dataclass

from redis import Redis

from tests.worker.controller.lost_store import LosableStore
from tests.worker.scenes import wait_until
from worker.controller.store_watch import StoreWatch
from worker.jobs.storage.store_losses import DataLoss, DataLossLog
from worker.jobs.store.recovery import Recovery


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All keys of a server, as `DUMP` gives them."""

    values: dict[bytes, bytes]
    lifetimes: dict[bytes, int]

    @classmethod
    def of(cls, redis: Redis) -> "Snapshot":
        with _raw(redis) as raw:
            keys = list(raw.scan_iter())
            return cls(
                {key: raw.dump(key) for key in keys}, {key: max(0, raw.pttl(key)) for key in keys}
            )

    def put_back(self, redis: Redis) -> None:
        with _raw(redis) as raw, raw.pipeline() as pipeline:
            pipeline.flushall()
            for key, value in self.values.items():
                pipeline.restore(key, self.lifetimes[key], value)
            pipeline.execute()


def _raw(redis: Redis) -> Redis:
    kwargs = dict(redis.connection_pool.connection_kwargs)
    return Redis(host=kwargs["host"], port=kwargs["port"], db=kwargs["db"])


class WatchedStore:
    """A losable store, and the round of the controller that watches it."""

    def __init__(self, service: LosableStore) -> None:
        self.service = service
        settings = service.workshop.settings
        self.watch = StoreWatch(service.store, service.redis, service.desk, settings)
        self._log = DataLossLog(settings.home_directories.losses)

    def round(self) -> None:
        self.watch.step()
        self.service.recoverer.step()

    def losses(self) -> list[DataLoss]:
        path = self.service.workshop.settings.home_directories.losses
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        return [DataLoss.model_validate_json(line) for line in lines]

    def noticed(self) -> DataLoss:
        """What the next round reports."""
        num_before = len(self.losses())
        self.round()
        (loss,) = self.losses()[num_before:]
        return loss

    def recovered(self) -> Recovery:
        """When the controller has brought back what was lost."""

        def is_done() -> bool:
            self.round()
            state = self.service.desk.state()
            return state is not None and state.status == "done"

        wait_until(is_done, what="the recovery")
        done = self.service.desk.state()
        assert done is not None
        return done
