"""Creates a small Flan-T5-shaped model with random weights for an existing T5 vocabulary.

    python examples/small_model.py directory/with/spiece.model .flant5/models/t5-small-new

A service whose home is `.flant5` then lists it as model `t5-small-new`.
"""

import shutil
import sys
from pathlib import Path

from flant5_train.demo_model import save_random_model
from flant5_train.models.tokenizer import SENTENCEPIECE_FILE

SIZES = {
    "d_model": 128,
    "d_kv": 32,
    "num_heads": 4,
    "d_ff": 256,
    "num_layers": 2,
    "num_decoder_layers": 2,
}


def main(vocabulary: Path, directory: Path) -> None:
    directory.mkdir(parents=True)
    shutil.copy(vocabulary / SENTENCEPIECE_FILE, directory)
    save_random_model(directory, sizes=SIZES)
    print(f"{directory}: {sum(path.stat().st_size for path in directory.iterdir()):,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
