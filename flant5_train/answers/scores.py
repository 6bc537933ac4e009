"""How close a given answer is to the expected one."""

import re

_WORD = re.compile(r"\w+")


def exact_match(given: str, expected: str) -> bool:
    """Whether the texts are the same but for the space around them."""
    return given.strip() == expected.strip()


def rouge_l(given: str, expected: str) -> float:
    """The F measure of the longest sequence of words that both texts have in this order.

    Words are those of any script, in any case: the original's are English ones, and an answer in
    Greek would score 0.

    rouge_l("The cat sat.", expected="the cat sat down") -> 0.857...
    """
    # Imported here, since it takes most of a second and few runs need it.
    from torchmetrics.functional.text import rouge_score

    scores = rouge_score(
        given, expected, rouge_keys="rougeL", normalizer=str.lower, tokenizer=_WORD.findall
    )
    return float(scores["rougeL_fmeasure"])
