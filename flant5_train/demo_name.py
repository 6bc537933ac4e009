"""Where the demo model of a file lies, and how large it is; no torch here, unlike in
`demo_model`, which builds it."""

import hashlib
from pathlib import Path

NUM_PIECES = 4000
MAX_DEMO_TOKENS = NUM_PIECES + 369
"""With what the lossless tokenization adds: 100 sentinels, 13 symbols, 256 bytes."""
DEMO_SIZES = {
    "d_model": 256,
    "d_kv": 32,
    "num_heads": 8,
    "d_ff": 512,
    "num_layers": 2,
    "num_decoder_layers": 2,
}


def demo_directory(data_path: Path, models_directory: Path) -> Path:
    """Of the demo model that is trained on a file: its vocabulary is made of the content."""
    with data_path.open("rb") as file:
        key = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    return models_directory / f"flant5-demo-{key}"
