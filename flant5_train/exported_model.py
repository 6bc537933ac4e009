"""The last step of saving a model: what the library leaves in a directory that is wrong for users.

Training runs without a cache and the library saves that; safetensors 0.8 makes its files readable
for their owner alone, whatever the umask; the Trainer adds a pickle with this machine's paths.
"""

import json
import stat
from pathlib import Path

_CONFIG = "config.json"
_ARGUMENTS = "training_args.bin"
"""Neither a resumed run nor any loader reads it."""
_ANYBODY = stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH


def complete_export(directory: Path) -> None:
    """Makes a saved model one for generating: with a cache, its weights readable as its other files
    are, without the training's arguments."""
    path = directory / _CONFIG
    config = json.loads(path.read_text(encoding="utf-8"))
    if config.get("use_cache") is not True:
        text = json.dumps(config | {"use_cache": True}, indent=2, sort_keys=True) + "\n"
        path.write_text(text, encoding="utf-8")
    give_weights_the_umask(directory)
    (directory / _ARGUMENTS).unlink(missing_ok=True)


def give_weights_the_umask(directory: Path) -> None:
    """Gives weights the mode that the umask gave the configuration beside them."""
    mode = (directory / _CONFIG).stat().st_mode & _ANYBODY
    for weights in directory.glob("*.safetensors"):
        weights.chmod(mode)
