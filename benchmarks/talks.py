"""Synthetic conversations like ShareGPT's, from a seed: prose, lists, code, other scripts.

    {"id": "talk-0", "conversations": [{"from": "human", "value": "..."}, {"from": "gpt", ...}]}

Lengths follow the real ones: 3.8 answers per conversation, short questions with a long tail, and
answers with a median of 230 tokens.
"""

import json
import math
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_WORDS: list[str] = re.findall(
    r"\w+",
    """
the of and to in is you that it for was on are as with they at be this have from or one had by not
what all were we when your can said there use an each which she do how their if will up other about
out many then them these so some her would make like him into time has look two more write go see
number no way could people my than first water been call who its now find long down day did get come
made may part over new sound take only little work know place year live back give most very after
thing our just name good sentence man think say great where help through much before line right too
mean old any same tell boy follow came want show also around form three small set put end does
another well large must big even such because turn here why ask went men read need land different
home us move try kind hand picture again change off play spell air away animal house point page
letter mother answer found study still learn should world high every near add food between own below
country plant last school father keep tree never start city earth eye light thought head under story
function value list method class error server query table network account customer market product
research model training data memory process language system example result version request response
""",
)
_ENDINGS = ("", "", "", "", "s", "ed", "ing", "er", "ly", "ness", "able", "ation", "ized")
_FOREIGN = (
    "Où est la bibliothèque, s'il vous plaît ? Déjà vu, naïveté, crème brûlée.",
    "Größe und Maß: für den Übergang gelten die üblichen Sätze.",
    "El niño comió piñas mañana; ¿cuántas quedan en el jardín?",
    "机器学习是人工智能的一个分支。我们需要更多的数据。",
    "これはテストです。よろしくお願いします。",
    "Машинное обучение требует много данных и терпения.",
    "데이터가 많을수록 모델이 좋아집니다.",
    "Great question! 😀🚀 Let's dive in… “quoted”, it’s 100 € — ½ done ✅",
)
_CODE = (
    "```python\ndef {a}_{b}({c}, {d}=None):\n    for {c} in range({n}):\n        if {c} % 2 == 0:\n"
    '            {d}["{a}"] = {{**{d}, "{b}": {c}}}\n    return {d}\n```',
    '```\n{{\n  "{a}": {n},\n  "{b}": [\n    {{"{c}": "{d}"}},\n    null\n  ]\n}}\n```',
    "```cpp\n#include <vector>\nstd::vector<int> {a}(const {b} &{c}) {{\n"
    "\tif ({c}.size() < {n}) {{\n\t\treturn {{}};\n\t}}\n\treturn {c}.{d}() | ~0x{n}u;\n}}\n```",
    "| {a} | {b} |\n|---|---|\n| `{c}` | {n} |\n| <b>{d}</b> | C:\\{a}\\{b} |",
)
_MEAN_ANSWERS = 3.8
_MAX_ANSWERS = 20
_CHARACTERS_PER_TOKEN = 4.5


@dataclass(frozen=True, slots=True)
class _Phrases:
    """Building blocks of turns. Generated once, so a large file takes only seconds."""

    prose: Sequence[str]
    blocks: Sequence[str]


def write_array(path: Path, *, num_bytes: int, seed: int = 0) -> int:
    """Writes a JSON array of at least `num_bytes`. Returns the number of its conversations."""
    size = count = 0
    with path.open("w", encoding="utf-8") as file:
        for count, talk in enumerate(talks(seed), start=1):
            text = json.dumps(talk, ensure_ascii=False, indent=1)
            size += file.write(("[\n" if count == 1 else ",\n") + text)
            if size >= num_bytes and file.tell() >= num_bytes:
                break
        file.write("\n]\n")
    return count


def talks(seed: int) -> Iterator[dict[str, object]]:
    """Yields conversations without end, always the same for a seed."""
    chance = random.Random(seed)
    phrases = _phrases(chance)
    number = 0
    while True:
        turns = []
        for _ in range(_num_answers(chance)):
            turns.append({"from": "human", "value": _text(chance, phrases, median=40, spread=1.4)})
            turns.append({"from": "gpt", "value": _text(chance, phrases, median=230, spread=0.9)})
        yield {"id": f"talk-{number}", "conversations": turns}
        number += 1


def _phrases(chance: random.Random) -> _Phrases:
    prose = [_sentence(chance) for _ in range(20_000)]
    blocks = [_code(chance) for _ in range(2_000)] + [_list(chance) for _ in range(2_000)]
    return _Phrases([*prose, *_FOREIGN * 60], blocks)


def _num_answers(chance: random.Random) -> int:
    count = 1
    while chance.random() > 1 / _MEAN_ANSWERS and count < _MAX_ANSWERS:
        count += 1
    return count


def _text(chance: random.Random, phrases: _Phrases, *, median: int, spread: float) -> str:
    num_tokens = chance.lognormvariate(math.log(median), spread)
    wanted = max(2, int(num_tokens * _CHARACTERS_PER_TOKEN))
    parts: list[str] = []
    size = 0
    while size < wanted:
        is_block = size > 0 and chance.random() < 0.06
        part = chance.choice(phrases.blocks if is_block else phrases.prose)
        end = "\n\n" if is_block or chance.random() < 0.15 else " "
        parts += [part, end]
        size += len(part) + len(end)
    return "".join(parts)[:wanted].rstrip() or "Yes."


def _word(chance: random.Random) -> str:
    # As in any language, a small part of the vocabulary makes up most of a text.
    at = int(len(_WORDS) * chance.random() ** 2)
    return _WORDS[at] + (chance.choice(_ENDINGS) if at > 60 else "")


def _sentence(chance: random.Random) -> str:
    words = [_word(chance) for _ in range(chance.randint(4, 22))]
    if len(words) > 9:
        words[len(words) // 2] += ","
    if chance.random() < 0.1:
        words[-1] = str(chance.randint(0, 9999))
    return " ".join(words).capitalize() + chance.choice("....?!:")


def _code(chance: random.Random) -> str:
    names = {name: _word(chance) for name in "abcd"}
    return chance.choice(_CODE).format(**names, n=chance.randint(2, 4096))


def _list(chance: random.Random) -> str:
    lines = [
        f"{n}. **{_word(chance)}**: {_sentence(chance)}" for n in range(1, chance.randint(3, 8))
    ]
    return "\n".join(lines)
