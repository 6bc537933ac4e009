"""Texts that tokenizers disagree on."""

import unicodedata

COMPOSED = {
    "two marks on a letter": "Tiếng Việt",
    "Greek with three marks": "ᾅδω",
    "Hangul syllables": "한국어 값",
    "a letter that stands for two": "Å Ω",
    "three marks, of which one composes": "á\u0302\u0303",
}
"""As precomposed characters (NFC); a decomposed text (NFD) is to give the same ids."""

TEXTS = {
    **COMPOSED,
    **{f"{name}, decomposed": unicodedata.normalize("NFD", t) for name, t in COMPOSED.items()},
    "marks in another order": "e\u0302\u0323 a\u0301\u0323\u0302",
    "joiners": "a\u200db \U0001f468\u200d\U0001f469\u200d\U0001f467 می\u200cخواهم क्\u200dष",
    "runs of spaces": "   a  b   c    d        e         f   ",
    "other spaces": "a\u00a0b\u00a0\u00a0c\u3000d\u200be\ufefff\u00adg",
    "a lone mark": "\u0301x a\u034f\u0301 a<\u0338b",
    "compatibility characters": "ﬁ ½ ™\ufe0f ％ ～ ａ",
    "line ends": "a\r\nb\rc\n\n d\n",
    "code": "def f(x):\n\tif x < 3:\n        return {x: `y`}  # ^~\\",
    "special tokens": "a </s> <pad> <extra_id_3> <0x0A> [PAD] <unk>",
    "other scripts": "日本語 中文 Привет 😀",
    "control characters": "a\x00b\x1b[0m",
    "T5's own space": "a▁b＿c",
    "nothing": "",
    "a prompt": "A chat.\n\n### Human: Hi  there\n### Assistant: ",
}

COMPATIBILITY_WITH_MARK = ("ａ\u0301", "½\u0301", "ﬁ\u0301")
"""Of those T5's own normalizer in Rust drops the mark; docs/tokenization.md says so."""
