"""Directory and sizes of the demo model. Imports no torch, unlike `demo_model`, which builds it."""

import hashlib
from pathlib import Path

NUM_PIECES = 4000
MAX_DEMO_TOKENS = NUM_PIECES + 369
"""Including the lossless tokenization's 100 sentinels, 13 symbols and 256 bytes."""
DEMO_SIZES = {
    "d_model": 256,
    "d_kv": 32,
    "num_heads": 8,
    "d_ff": 512,
    "num_layers": 2,
    "num_decoder_layers": 2,
}


def demo_directory(data_path: Path, models_directory: Path) -> Path:
    """Returns the directory of a file's demo model, named by the hash of the content."""
    with data_path.open("rb") as file:
        key = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    return models_directory / f"flant5-demo-{key}"
