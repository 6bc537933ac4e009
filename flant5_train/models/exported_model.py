"""Last step of saving a model: fixes files of the library that are wrong for users.

The library saves `use_cache=False`, the setting of training. safetensors 0.8 makes its files
readable by their owner only, whatever the umask. The Trainer adds a pickle with this machine's
paths.
"""

import json
import stat
from pathlib import Path

_CONFIG = "config.json"
_ARGUMENTS = "training_args.bin"
"""Not read by resumed runs or by loaders."""
_ANYBODY = stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH


def complete_export(directory: Path) -> None:
    """Prepares a saved model for generation.

    Enables the cache, gives the weights the mode of the other files, and deletes the training
    arguments.
    """
    path = directory / _CONFIG
    config = json.loads(path.read_text(encoding="utf-8"))
    if config.get("use_cache") is not True:
        text = json.dumps(config | {"use_cache": True}, indent=2, sort_keys=True) + "\n"
        path.write_text(text, encoding="utf-8")
    give_weights_the_umask(directory)
    (directory / _ARGUMENTS).unlink(missing_ok=True)


def give_weights_the_umask(directory: Path) -> None:
    """Gives the weights the mode of the configuration file, which follows the umask."""
    mode = (directory / _CONFIG).stat().st_mode & _ANYBODY
    for weights in directory.glob("*.safetensors"):
        weights.chmod(mode)
