"""LRU cache of loaded models, limited by their memory."""

import gc
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import torch

from flant5_train.serving.loaded import LoadedModel, expected_bytes, load


class ModelTooLargeError(Exception):
    """The model alone exceeds the memory limit of the cache."""


Version = tuple[tuple[str, int, int], ...]


class Shelf:
    """Cache of models with a total size of at most `max_bytes`."""

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
        """Models in order of last use, most recent last."""

    @property
    def names(self) -> tuple[str, ...]:
        """The cached models, in order of eviction."""
        return tuple(self._models)

    @property
    def num_bytes(self) -> int:
        return sum(model.num_bytes for _, model in self._models.values())

    def take(self, name_or_path: str) -> LoadedModel:
        """Returns the model, and reloads it if its files have changed.

        Raises ModelTooLargeError, and TrainingError if it can't be loaded.
        """
        version = _version(name_or_path)
        held = self._models.get(name_or_path)
        if held is not None and held[0] == version:
            self._models.move_to_end(name_or_path)
            return held[1]
        del held  # Without this, the outdated model would stay in memory beside the new one.
        self._models.pop(name_or_path, None)
        self._make_room(self._expected(name_or_path))
        model = self._load(name_or_path)
        self._models[name_or_path] = (version, model)
        return model

    def drop_deleted(self) -> tuple[str, ...]:
        """Evicts models whose directories were deleted. Returns their paths."""
        gone = tuple(
            path for path, (version, _) in self._models.items() if version and not _version(path)
        )
        for path in gone:
            del self._models[path]
        if gone:
            _release()
        return gone

    def clear(self) -> None:
        """Evicts all models."""
        self._models.clear()
        _release()

    def _make_room(self, num_bytes: int) -> None:
        if num_bytes > self._max_bytes:
            raise ModelTooLargeError(
                f"the model takes {num_bytes / 2**30:.2f} GiB of memory; the limit for all loaded "
                f"models is {self._max_bytes / 2**30:.2f} GiB (FLANT5_SERVE_MODEL_BYTES)"
            )
        while self._models and self.num_bytes + num_bytes > self._max_bytes:
            self._models.popitem(last=False)
            _release()


def shelf_on(device: torch.device, *, max_bytes: int, max_source_tokens: int) -> Shelf:
    """Returns a model cache on one device."""

    def load_there(name_or_path: str) -> LoadedModel:
        return load(name_or_path, device=device, max_source_tokens=max_source_tokens)

    return Shelf(max_bytes=max_bytes, load_model=load_there)


def _version(name_or_path: str) -> Version:
    """Returns the names, times and sizes of a directory's files. Empty for a hub name, whose files
    do not change."""
    directory = Path(name_or_path)
    if not (directory / "config.json").is_file():
        return ()
    files = (path for path in sorted(directory.iterdir()) if path.is_file())
    return tuple((path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in files)


def _release() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
