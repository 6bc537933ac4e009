"""Scores of a generated answer against the expected one."""

import re

_WORD = re.compile(r"\w+")


def exact_match(given: str, expected: str) -> bool:
    """Returns True when the texts are equal apart from surrounding whitespace."""
    return given.strip() == expected.strip()


def rouge_l(given: str, expected: str) -> float:
    """Returns ROUGE-L: the F measure of the longest common subsequence of tokens.

    Tokens are runs of word characters in any script, compared in lower case. The original metric
    knows English only: an answer in Greek would score 0.

    rouge_l("The cat sat.", expected="the cat sat down") -> 0.857...
    """
    # Imported here: it takes most of a second, and few runs need it.
    from torchmetrics.functional.text import rouge_score

    scores = rouge_score(
        given, expected, rouge_keys="rougeL", normalizer=str.lower, tokenizer=_WORD.findall
    )
    return float(scores["rougeL_fmeasure"])
