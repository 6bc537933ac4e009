"""Sends the malformed inputs, looks at every answer, and counts."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

from tests.security.corpus import CLASSES
from tests.security.malformed import Malformed, Raw
from tests.security.server import Server
from tests.security.victim import Victim
from tests.security.wire import Answer, HungError, Wire

_NUM_CONNECTIONS = 4
_LONGEST_ERROR_BYTES = 4096
"""An answer that repeats what was sent must not be as long as that."""
_MOST_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the inputs of one class."""

    name: str
    statuses: Counter[str] = field(default_factory=Counter)
    """Inputs by the status of their answer; "closed" where the connection ended without one."""
    defects: list[str] = field(default_factory=list)

    @property
    def num_sent(self) -> int:
        return self.statuses.total()


def sent_to(server: Server, victim: Victim) -> Iterator[Tally]:
    """The whole corpus, class by class."""
    for name, inputs_of in CLASSES.items():
        yield _sent(server, name, inputs_of(victim))


def _sent(server: Server, name: str, inputs: Iterable[Malformed | Raw]) -> Tally:
    """Over a few connections at a time."""
    shares: list[list[Malformed | Raw]] = [[] for _ in range(_NUM_CONNECTIONS)]
    for number, each in enumerate(inputs):
        shares[number % _NUM_CONNECTIONS].append(each)
    tally = Tally(name)
    with ThreadPoolExecutor(_NUM_CONNECTIONS) as pool:
        for part in pool.map(lambda share: _sent_share(server, share), shares):
            tally.statuses.update(part.statuses)
            tally.defects.extend(part.defects)
    return tally


def _sent_share(server: Server, inputs: Iterable[Malformed | Raw]) -> Tally:
    tally = Tally("")
    with server.wire() as wire:
        for each in inputs:
            try:
                answer = _answer(wire, each, authorization=server.authorization)
            except (HungError, AssertionError) as error:
                tally.statuses["none"] += 1
                tally.defects.append(f"{error}: {shown(each)}")
                wire.close()
                continue
            tally.statuses["closed" if answer is None else str(answer.status)] += 1
            if answer is not None and (fault := fault_of(answer, each)):
                tally.defects.append(f"{answer.status} {fault}: {shown(each)}")
    return tally


def _answer(wire: Wire, each: Malformed | Raw, *, authorization: str) -> Answer | None:
    if isinstance(each, Raw):
        return wire.say(each.data)
    return wire.ask(each.encoded(authorization))


def fault_of(answer: Answer, each: Malformed | Raw) -> str:
    """What is wrong with an answer to such an input, or ''."""
    if "x-request-id" not in answer.headers:
        return "has no request id"
    if 200 <= answer.status < 300:
        may_pass = isinstance(each, Raw) or each.may_pass
        return "" if may_pass else f"accepted, with {answer.body[:200]!r}"
    if answer.status == 303 and answer.headers.get("location", "").startswith("/login"):
        return ""  # a page, which a browser has to log in for
    if not 400 <= answer.status < 500:
        return "is no refusal"
    if isinstance(each, Malformed) and each.method == "HEAD":
        return ""
    if len(answer.body) > _LONGEST_ERROR_BYTES:
        return f"has an error of {len(answer.body)} bytes"
    return fault_of_error(answer)


def fault_of_error(answer: Answer) -> str:
    """What is not the shape of our errors, or ''."""
    if not answer.headers.get("content-type", "").startswith("application/json"):
        return f"is no JSON: {answer.body[:100]!r}"
    try:
        error = json.loads(answer.body)["error"]
        is_ours = set(error) == {"message", "type", "param", "code"} and error["message"]
    except (ValueError, KeyError, TypeError):
        is_ours = False
    return "" if is_ours else f"has another shape: {answer.body[:100]!r}"


def shown(each: Malformed | Raw) -> str:
    if isinstance(each, Raw):
        return repr(each.data[:120])
    headers = {name: value[:60] for name, value in islice(each.headers.items(), 3)}
    return f"{each.method} {each.path[:120]} {headers} {each.body[:160]!r}"


def faults_shown(tallies: Iterable[Tally]) -> str:
    defects = [f"{tally.name}: {defect}" for tally in tallies for defect in tally.defects]
    more = f"\nand {len(defects) - _MOST_SHOWN} more" if len(defects) > _MOST_SHOWN else ""
    return "\n".join(defects[:_MOST_SHOWN]) + more
