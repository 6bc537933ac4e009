"""The models that are in memory: loaded when they are asked, given up when others need the room."""

import gc
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import torch

from flant5_train.serving.loaded import LoadedModel, expected_bytes, load


class ModelTooLargeError(Exception):
    """The model alone takes more than all of them may."""


Version = tuple[tuple[str, int, int], ...]


class Shelf:
    """As many models as fit into `max_bytes`."""

    def __init__(
        self,
        *,
        max_bytes: int,
        load_model: Callable[[str], LoadedModel],
        expected: Callable[[str], int] = expected_bytes,
    ) -> None:
        self._max_bytes = max_bytes
        self._load = load_model
        self._expected = expected
        self._models: OrderedDict[str, tuple[Version, LoadedModel]] = OrderedDict()
        """The one that was used last comes last."""

    @property
    def names(self) -> tuple[str, ...]:
        """What is in memory, the next to be given up first."""
        return tuple(self._models)

    @property
    def num_bytes(self) -> int:
        return sum(model.num_bytes for _, model in self._models.values())

    def take(self, name_or_path: str) -> LoadedModel:
        """The model as its files are now.

        Raises ModelTooLargeError, and TrainingError when it can't be loaded.
        """
        version = _version(name_or_path)
        held = self._models.get(name_or_path)
        if held is not None and held[0] == version:
            self._models.move_to_end(name_or_path)
            return held[1]
        del held  # else the old files' model stays in memory beside the new one
        self._models.pop(name_or_path, None)
        self._make_room(self._expected(name_or_path))
        model = self._load(name_or_path)
        self._models[name_or_path] = (version, model)
        return model

    def drop_deleted(self) -> tuple[str, ...]:
        """Gives up the models whose directories are no more: nobody can ask them. Their paths."""
        gone = tuple(
            path for path, (version, _) in self._models.items() if version and not _version(path)
        )
        for path in gone:
            del self._models[path]
        if gone:
            _release()
        return gone

    def clear(self) -> None:
        """Gives up all of them."""
        self._models.clear()
        _release()

    def _make_room(self, num_bytes: int) -> None:
        if num_bytes > self._max_bytes:
            raise ModelTooLargeError(
                f"the model takes {num_bytes / 2**30:.2f} GiB of memory and all models together "
                f"may take {self._max_bytes / 2**30:.2f} GiB (FLANT5_SERVE_MODEL_BYTES)"
            )
        while self._models and self.num_bytes + num_bytes > self._max_bytes:
            self._models.popitem(last=False)
            _release()


def shelf_on(device: torch.device, *, max_bytes: int, max_source_tokens: int) -> Shelf:
    """A shelf of models on one device."""

    def load_there(name_or_path: str) -> LoadedModel:
        return load(name_or_path, device=device, max_source_tokens=max_source_tokens)

    return Shelf(max_bytes=max_bytes, load_model=load_there)


def _version(name_or_path: str) -> Version:
    """What changes when the files of a directory do; of a hub name, whose files stay, nothing."""
    directory = Path(name_or_path)
    if not (directory / "config.json").is_file():
        return ()
    files = (path for path in sorted(directory.iterdir()) if path.is_file())
    return tuple((path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in files)


def _release() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
