"""A process that ships one integration of one job, as its parent has it."""

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

from pydantic import ValidationError

from worker.integrations.assignment import Assignment, JobEnded, Report
from worker.jobs.life import Status

_STOP_SECONDS = 5.0
_MAX_LINE_BYTES = 1 << 20

logger = logging.getLogger(__name__)

OnUrl = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a try failed."""

    text: str
    is_final: bool = False
    """Whether the next one would find the same."""

    def __str__(self) -> str:
        return self.text


class Child:
    """`start` it, look at it with `ended_within`, and `stop` it in any case."""

    def __init__(self, process: asyncio.subprocess.Process, on_url: OnUrl) -> None:
        self._process = process
        self._on_url = on_url
        self._heard_at = time.monotonic()
        self._last = Report()
        self._is_told = False
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, assignment: Assignment, *, on_url: OnUrl) -> Self:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "worker.integrations.ship"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            limit=_MAX_LINE_BYTES,
        )
        child = cls(process, on_url)
        await child._write(assignment.model_dump_json())
        return child

    @property
    def silent_seconds(self) -> float:
        return time.monotonic() - self._heard_at

    @property
    def problem(self) -> Problem | None:
        """What went wrong, of one that has ended; None when it did all."""
        if self._last.is_done:
            return None
        if self._last.problem is None:
            return Problem(f"its process ended with {self._process.returncode}")
        return Problem(self._last.problem, is_final=self._last.is_final)

    async def tell_end(self, status: Status) -> None:
        """The job does not run any more. Said once."""
        if not self._is_told:
            self._is_told = True
            await self._write(JobEnded(status=status).model_dump_json())

    async def ended_within(self, seconds: float) -> bool:
        done, _ = await asyncio.wait({self._listening}, timeout=seconds)
        return bool(done)

    async def stop(self) -> None:
        """Without its standard input it ends by itself; killed if it does not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._listening

    async def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            await self._process.stdin.drain()
        except ConnectionError:
            return  # it has ended: `ended_within` says so, and `problem` why

    async def _listen(self) -> None:
        """Until its end."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            try:
                report = Report.model_validate_json(line)
            except ValidationError:
                logger.warning("a process that ships said what is no report: %r", line[:200])
                continue
            self._heard_at = time.monotonic()
            self._last = report
            if report.url is not None:
                await self._on_url(report.url)
        await self._process.wait()
