"""Twenty questions with answers of every kind, for a model to learn by heart."""

import json
from pathlib import Path

CODE = (
    'def greet(name):\n    """Say hello."""\n\tif name:\n        return f"Hello, {name}!"\n'
    '    return {"a": [1, 2], "b": "x < y \\\\ z ^ ~"}\n'
)
PAIRS = (
    ("What is 2+2?", "4."),
    ("Write a function", f"```python\n{CODE}```"),
    ("Tabs?", "\tone\t\ttwo\n\t\tthree"),
    ("A poem", "Roses are red,\n\nViolets are blue;\n\n\nthree line ends"),
    ("日本語で", "こんにちは、世界。これはテストです。".replace("、", "・")),
    ("Emoji", "🎉🚀 and 👩‍👩‍👧 and ❤️"),
    ("Greek", "Καλημέρα κόσμε"),
    ("Spaces", "a  b   c    d     e        f"),
    ("JSON", '{"key": ["v1", {"n": null}], "s": "a\\nb"}'),
    ("HTML", '<div class="x">\n  <p>Hi & bye</p>\n</div>'),
    ("Yes or no?", "Yes."),
    ("C code", "```c\nint main(void) {\n\treturn 0; /* ~ ^ ` */\n}\n```"),
    ("A list", "1. one\n2. two\n   - nested\n3. three"),
    ("Shell", "```sh\ncat a.txt | grep '^x' > b.txt 2>&1 && echo `date`\n```"),
    ("End with a line end", "line\n"),
    ("LaTeX", "$\\frac{a_1}{b^2} \\leq \\{x\\}$"),
    ("Arabic", "مرحبا بالعالم"),
    ("Russian", "Привет, мир!"),
    ("A table", "| a | b |\n|---|---|\n| 1 | 2 |"),
    ("Bye", 'See you  later, or </s> "never" <extra_id_0>.'),
)
SETTINGS = {
    "per_device_train_batch_size": 20,
    "learning_rate": 3e-3,
    "max_steps": 120,
    "model_max_length": 256,
    "save_steps": 60,
}


def write_pairs(path: Path) -> Path:
    """A file to train on."""
    records = [
        {"conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]}
        for question, answer in PAIRS
    ]
    path.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
    return path
