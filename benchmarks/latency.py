"""Latency of several kinds of requests, in turns, over one connection to each server."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

import httpx

_WARM_UP_ROUNDS = 20

Kind = TypeVar("Kind")
Request = Callable[[httpx.Client], httpx.Response]


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency of one kind of request, in seconds."""

    median: float
    p99: float


def measure_latencies(
    client: httpx.Client, requests: Mapping[Kind, Request], *, num_rounds: int
) -> dict[Kind, Latency]:
    """Sends one request of each kind in each round, so that other load affects all kinds equally.

    Raises httpx.HTTPStatusError if a request is refused.
    """
    seconds: dict[Kind, list[float]] = {name: [] for name in requests}
    for number in range(_WARM_UP_ROUNDS + num_rounds):
        for name, request in requests.items():
            began = time.perf_counter()
            response = request(client)
            elapsed = time.perf_counter() - began
            response.raise_for_status()
            if number >= _WARM_UP_ROUNDS:
                seconds[name].append(elapsed)
    return {name: Latency(median(each), percentile(each, 99)) for name, each in seconds.items()}


def percentile(values: list[float], percent: float) -> float:
    """
    >>> percentile([float(number) for number in range(1, 101)], 99)
    99.0
    """
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(percent) // 100) - 1)]
