"""Answers that are given together are what they are alone, and what the library generates."""

from typing import Any

import torch

from flant5_train.protocol.inference import AnswerFinished, AskedTurn, StreamEvent, TextDelta
from flant5_train.serving.detokenizer import AnswerDetokenizer, detokenizer_for
from flant5_train.serving.generation import Decoding, GeneratedSequence, Sampler, answer
from flant5_train.serving.model_cache import LoadedModel
from flant5_train.serving.server import conversation_of, source_of

QUESTIONS = ("Hi", "What is the weather like in a town by the sea?" * 5, "Bye!", "Why? " * 40)
LENGTH = 24


def row(
    loaded: LoadedModel, text: str, *, seed: int | None = None, stop: tuple[str, ...] = ()
) -> GeneratedSequence:
    """Greedy unless it has a seed."""
    conversation = conversation_of([AskedTurn(role="user", content=text)])
    return GeneratedSequence(
        id=text,
        source=source_of(conversation, loaded.encoder, max_tokens=512).ids,
        sampler=Sampler(temperature=0.0 if seed is None else 1.0, top_p=0.9, seed=seed),
        text=AnswerDetokenizer(detokenizer_for(loaded.tokenizer), stop=stop),
        max_new_tokens=LENGTH,
    )


def said(
    loaded: LoadedModel,
    rows: list[GeneratedSequence],
    *later: list[GeneratedSequence],
    unwanted: tuple[str, ...] = (),
) -> dict[str, list[StreamEvent]]:
    """What is said to `rows` and to those that join them, some at each token."""
    pieces: dict[str, list[StreamEvent]] = {
        each.id: [] for group in (rows, *later) for each in group
    }
    groups = iter((rows, *later))
    answer(
        loaded.model,
        lambda going: next(groups, []),
        is_active=lambda row_id: row_id not in unwanted,
        send=lambda piece: pieces[piece.id].append(piece),
    )
    return pieces


def text_of(pieces: list[StreamEvent]) -> str:
    return "".join(piece.text for piece in pieces if isinstance(piece, TextDelta))


def test_answers_given_together_are_those_given_alone(loaded: LoadedModel) -> None:
    together = said(loaded, [row(loaded, text) for text in QUESTIONS])
    alone = [said(loaded, [row(loaded, text)])[text] for text in QUESTIONS]
    assert [together[text] for text in QUESTIONS] == alone
    assert len({text_of(pieces) for pieces in alone}) > 1, (
        "a model that says one thing tells little"
    )


def test_who_joins_later_changes_no_answer_and_gets_the_one_it_would_get_alone(
    loaded: LoadedModel,
) -> None:
    alone = {text: said(loaded, [row(loaded, text)])[text] for text in QUESTIONS}
    for texts in (QUESTIONS, QUESTIONS[::-1], (*QUESTIONS[2:], *QUESTIONS[:2])):
        first, second, third, fourth = ([row(loaded, text)] for text in texts)
        # some join at once, and one after everyone before has ended
        together = said(loaded, first, [], second + third, *([[]] * 9), fourth)
        assert together == alone


@torch.inference_mode()
def test_rows_that_joined_are_followed_by_what_would_follow_them_alone(
    loaded: LoadedModel,
) -> None:
    sources = [row(loaded, text).source for text in QUESTIONS[:3]]
    told = torch.randint(2, 300, (3, 12), generator=torch.Generator().manual_seed(0)).tolist()

    def begun(index: int, num_tokens: int) -> Decoding:
        """One answer, with that many of its tokens."""
        decoding = Decoding.of(loaded.model, [sources[index]])
        for token in told[index][:num_tokens]:
            decoding.next_logits()
            decoding.keep([0], [token])
        return decoding

    joined = begun(0, 3).joined(begun(1, 7)).joined(begun(2, 1))
    lengths = [3, 7, 1]
    for step in range(3):
        for index, logits_V in enumerate(joined.next_logits()):
            alone_V = begun(index, lengths[index] + step).next_logits()[0]
            torch.testing.assert_close(logits_V, alone_V)
        joined.keep([0, 1, 2], [told[row][lengths[row] + step] for row in range(3)])
    joined.next_logits()
    joined.keep([0, 2], [told[0][6], told[2][4]])  # the longest answer and source leave
    for logits_V, (index, length) in zip(joined.next_logits(), ((0, 7), (2, 5)), strict=True):
        torch.testing.assert_close(logits_V, begun(index, length).next_logits()[0])


def test_an_answer_is_the_librarys(loaded: LoadedModel) -> None:
    for text in QUESTIONS:
        source = torch.from_numpy(row(loaded, text).source.astype("int64"))[None]
        library: Any = loaded.model
        generated = library.generate(
            source, attention_mask=torch.ones_like(source), max_new_tokens=LENGTH, do_sample=False
        )
        stream = detokenizer_for(loaded.tokenizer)
        expected = "".join(map(stream.feed, generated[0].tolist())) + stream.end()
        assert text_of(said(loaded, [row(loaded, text)])[text]) == expected


def test_the_same_seed_is_the_same_answer_whoever_is_answered_beside_it(
    loaded: LoadedModel,
) -> None:
    alone = said(loaded, [row(loaded, "Hi", seed=7)])["Hi"]
    beside = said(loaded, [row(loaded, QUESTIONS[1], seed=8), row(loaded, "Hi", seed=7)])["Hi"]
    others = [said(loaded, [row(loaded, "Hi", seed=seed)])["Hi"] for seed in (-1, 2**70)]
    assert alone == beside
    assert all(other != alone for other in others)


def test_the_length_is_a_limit_and_said_to_be_the_reason(loaded: LoadedModel) -> None:
    for pieces in said(loaded, [row(loaded, text, seed=1) for text in QUESTIONS]).values():
        end = pieces[-1]
        assert isinstance(end, AnswerFinished)
        assert end.completion_tokens <= LENGTH
        assert (end.reason == "length") == (end.completion_tokens == LENGTH)


def test_an_answer_ends_at_its_stop_sequence(loaded: LoadedModel) -> None:
    whole = text_of(said(loaded, [row(loaded, "Hi", seed=3)])["Hi"])
    stop = whole[len(whole) // 2 :][:2]
    pieces = said(loaded, [row(loaded, "Hi", seed=3, stop=(stop,))])["Hi"]
    assert text_of(pieces) == whole.partition(stop)[0]
    end = pieces[-1]
    assert isinstance(end, AnswerFinished)
    assert end.reason == "stop"


def test_who_is_no_longer_wanted_leaves_without_a_word_and_the_others_go_on(
    loaded: LoadedModel,
) -> None:
    whole = said(loaded, [row(loaded, text) for text in QUESTIONS])
    pieces = said(loaded, [row(loaded, text) for text in QUESTIONS], unwanted=("Hi",))
    assert pieces.pop("Hi") == []
    assert pieces == {text: whole[text] for text in QUESTIONS if text != "Hi"}


def test_the_nucleus_holds_the_fewest_likeliest_tokens() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()

    def chosen(top_p: float) -> set[int]:
        sampler = Sampler(temperature=1.0, top_p=top_p, seed=0)
        return {sampler.sample(logits) for _ in range(300)}

    assert [chosen(top_p) for top_p in (0.4, 0.5, 0.51, 0.9, 1.0)] == [
        {0},
        {0},
        {0, 1},
        {0, 1, 2},
        {0, 1, 2, 3},
    ]
