"""Orders in, pieces out."""

import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from flant5_train.protocol.failure import FailureCode, TrainingError
from flant5_train.protocol.inference import (
    AnswerFinished,
    AnswerStarted,
    AskedTurn,
    CancelRequest,
    ChatPrompt,
    GenerateRequest,
    Refused,
    StreamEvent,
    TextDelta,
)
from flant5_train.serving import request_queue as inbox_module
from flant5_train.serving import server
from flant5_train.serving.generation import Decoding
from flant5_train.serving.model_cache import LoadedModel, ModelCache, model_cache_on
from flant5_train.serving.request_queue import RequestQueue
from flant5_train.serving.server import EngineLimits, InferenceEngine


def ask(
    ask_id: str, *texts: str, model: str = "m", max_new_tokens: int | None = 4
) -> GenerateRequest:
    turns = tuple(
        AskedTurn(role="system" if text == "!late system" else "user", content=text)
        for text in texts or ("Hi",)
    )
    return GenerateRequest(
        id=ask_id, question=ChatPrompt(model=model, turns=turns, max_new_tokens=max_new_tokens)
    )


class Scene:
    """A session on a shelf that holds one model, whatever it is called."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.requests = RequestQueue()
        self.pieces: list[StreamEvent] = []
        self.num_loads = 0
        self.error: BaseException | None = None
        self._loaded = loaded
        cache = ModelCache(max_bytes=10**9, load_model=self._load, expected=lambda _: 0)
        limits = EngineLimits(max_rows=3, max_answer_tokens=8)
        self.session = InferenceEngine(cache, self.requests, limits=limits, send=self._send)
        self.last = ""

    def _load(self, name: str) -> LoadedModel:
        self.num_loads += 1
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return self._loaded

    def _send(self, piece: StreamEvent) -> None:
        self.pieces.append(piece)
        if piece.id == self.last and isinstance(piece, AnswerFinished | Refused):
            self.requests.close()

    def run(self, *asks: GenerateRequest) -> None:
        """Until the last one of them has ended."""
        self.last = asks[-1].id
        for each in asks:
            self.requests.put(each)
        runner = threading.Thread(target=self.session.run)
        runner.start()
        runner.join(timeout=60)
        assert not runner.is_alive()

    def of(self, ask_id: str) -> list[StreamEvent]:
        return [piece for piece in self.pieces if piece.id == ask_id]


@pytest.fixture
def scene(loaded: LoadedModel) -> Scene:
    return Scene(loaded)


def test_each_question_is_answered_from_start_to_finish(scene: Scene) -> None:
    scene.run(ask("1", "Hi"), ask("2", "Bye"))
    for ask_id in ("1", "2"):
        start, *_, end = scene.of(ask_id)
        assert isinstance(start, AnswerStarted)
        assert start.prompt_tokens > 10
        assert isinstance(end, AnswerFinished)


def test_questions_to_one_model_are_a_batch_whoever_waits_between_them() -> None:
    requests = RequestQueue()
    for number, model in enumerate(("a", "b", "a", "a", "a")):
        requests.put(ask(str(number), model=model))
    taken = [[each.id for each in requests.next_batch(3)] for _ in range(3)]
    assert taken == [["0", "2", "3"], ["1"], ["4"]]


class LateScene(Scene):
    """One where question 2 comes when the answer to the first question has begun."""

    def _send(self, piece: StreamEvent) -> None:
        if isinstance(piece, TextDelta) and self.last == "1":
            self.last = "2"
            self.requests.put(ask("2", max_new_tokens=8))
        super()._send(piece)


def test_a_question_that_comes_later_joins_the_answer_that_is_given(loaded: LoadedModel) -> None:
    late, alone = LateScene(loaded), Scene(loaded)
    late.run(ask("1", "Tell me more", max_new_tokens=8))
    alone.run(ask("2", max_new_tokens=8))
    assert late.of("2") == alone.of("2")
    assert late.pieces.index(late.of("2")[1]) < late.pieces.index(late.of("1")[-1])


def test_who_waits_for_another_model_is_not_passed_by_those_that_join() -> None:
    requests = RequestQueue()
    for number, model in enumerate(("a", "a", "a", "b", "a")):
        requests.put(ask(str(number), model=model))
    requests.put(CancelRequest(id="1"))
    assert [each.id for each in requests.next_of("a", 1)] == ["0"]
    assert [each.id for each in requests.next_of("a", 9)] == ["2"]
    assert [each.id for each in requests.next_batch(9)] == ["3"]
    assert [each.id for each in requests.next_of("a", 0)] == []
    assert [each.id for each in requests.next_of("a", 9)] == ["4"]


def test_a_failure_is_said_to_those_that_joined_as_well(
    loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Decoding:
        raise RuntimeError("our own bug")

    monkeypatch.setattr(Decoding, "joined", fail)
    late = LateScene(loaded)
    late.run(ask("1", "Tell me more", max_new_tokens=8))
    for ask_id in ("1", "2"):
        assert isinstance(late.of(ask_id)[-1], Refused)


def test_sources_that_are_too_long_together_are_answered_one_after_the_other(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_BATCH_TOKENS", 1)
    scene.run(*(ask(str(number)) for number in range(4)))
    texts = [piece.id for piece in scene.pieces if not isinstance(piece, AnswerStarted)]
    assert texts == sorted(texts)
    assert {*texts} == {"0", "1", "2", "3"}


@pytest.mark.parametrize(("model", "kind"), [("/gone", "not_found"), ("a/name", "invalid")])
def test_a_model_that_was_deleted_meanwhile_is_not_found(
    scene: Scene, model: str, kind: str
) -> None:
    scene.error = TrainingError(FailureCode.BAD_MODEL, "it can't be loaded")
    scene.run(ask("1", model=model))
    (refused,) = scene.pieces
    assert isinstance(refused, Refused)
    assert refused.kind == kind


def test_an_idle_session_gives_up_a_model_that_is_deleted(
    talkative: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox_module, "IDLE_SECONDS", 0.01)
    model = shutil.copytree(talkative, tmp_path / "m")
    cache = model_cache_on(torch.device("cpu"), max_bytes=10**9, max_source_tokens=256)
    cache.get(str(model))
    requests = RequestQueue()
    idle = InferenceEngine(cache, requests, limits=EngineLimits(), send=lambda _: None)
    runner = threading.Thread(target=idle.run)
    runner.start()
    shutil.rmtree(model)
    deadline = time.monotonic() + 30
    while cache.names and time.monotonic() < deadline:
        time.sleep(0.01)
    requests.close()
    runner.join(timeout=30)
    assert cache.names == ()


def test_a_question_that_was_cancelled_is_not_answered(scene: Scene) -> None:
    scene.requests.put(ask("1"))
    scene.requests.put(CancelRequest(id="1"))
    scene.run(ask("2"))
    assert scene.of("1") == []
    assert isinstance(scene.of("2")[-1], AnswerFinished)


@pytest.mark.parametrize(
    ("refused", "kind", "param", "message"),
    [
        (ask("1", "Hi", "!late system"), "invalid", "messages", "found a system turn"),
        (ask("1", "word " * 500), "too_long", "messages", "reads at most 256"),
        (ask("1", max_new_tokens=9), "invalid", "max_completion_tokens", "the limit is 8 tokens"),
    ],
)
def test_a_question_that_can_not_be_answered_harms_no_other(
    scene: Scene, refused: GenerateRequest, kind: str, param: str, message: str
) -> None:
    scene.run(refused, ask("2"))
    (only,) = scene.of("1")
    assert isinstance(only, Refused)
    assert (only.kind, only.param) == (kind, param)
    assert message in only.message
    assert isinstance(scene.of("2")[-1], AnswerFinished)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "unavailable"),
        (RuntimeError("our own bug"), "failed"),
    ],
)
def test_a_failure_is_said_and_the_next_question_is_answered(
    scene: Scene, error: Exception, kind: str
) -> None:
    scene.error = error
    scene.run(ask("1", model="a"), ask("2", model="b"))
    (refused,) = scene.of("1")
    assert isinstance(refused, Refused)
    assert refused.kind == kind
    assert str(error) not in refused.message
    assert isinstance(scene.of("2")[-1], AnswerFinished)


def test_the_program_speaks_lines_and_ends_with_its_input(talkative: Path) -> None:
    order = ask("1", "Hi", model=str(talkative)).model_dump_json()
    bad = ask("2", "Hi", model=str(talkative / "absent")).model_dump_json()
    with subprocess.Popen(
        [sys.executable, "-m", "flant5_train.serving"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        program.stdin.write(f"{order}\n{bad}\n")
        program.stdin.flush()
        said: list[dict[str, Any]] = []
        while len([each for each in said if each["type"] in ("finished", "refused")]) < 2:
            said.append(json.loads(program.stdout.readline()))
        program.stdin.close()
        assert program.wait(timeout=60) == 0
    assert next(each["type"] for each in said if each["id"] == "1") == "started"
    assert "there is no such directory" in said[-1]["message"]


def test_the_pieces_of_an_answer_are_its_text(scene: Scene) -> None:
    scene.run(ask("1", max_new_tokens=8))
    deltas = [piece.text for piece in scene.of("1") if isinstance(piece, TextDelta)]
    assert deltas
    assert all(deltas)
