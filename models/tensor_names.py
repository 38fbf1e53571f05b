"""Finds tensors of a checkpoint by the names of its family, with or without prefixes of wrappers."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping

from models.errors import CheckpointError
from models.safetensors_file import TensorPlace

_WRAPPERS = ("base_model.model.", "language_model.")
"""Name prefixes of PEFT and of multimodal models."""


class StoredTensors:
    """The tensors of a checkpoint, accessed by the names of its family.

    Args:
        prefix: Name prefix that checkpoints of the bare decoder lack.
    """

    def __init__(self, places: Mapping[str, TensorPlace], prefix: str) -> None:
        self.places, self._prefix = places, prefix
        self._sorted = sorted(places)

    def name_of(self, tensor: str) -> str | None:
        """The stored name of a tensor of the family; None if it is not stored.

        Raises:
            CheckpointError: it is stored under two names.
        """
        names = [name for name in dict.fromkeys(self._spelled(tensor)) if name in self.places]
        if len(names) > 1:
            raise CheckpointError(
                f"{self.places[names[0]].file.parent} has {names[0]!r} and {names[1]!r}, which are both '{tensor}'; "
                "save the model again without one of them"
            )
        return names[0] if names else None

    def place_of(self, tensor: str) -> TensorPlace | None:
        """The place of a tensor of the family; None if it is not stored."""
        name = self.name_of(tensor)
        return None if name is None else self.places[name]

    def extra_tensor(self, tensor: str) -> str | None:
        """A stored tensor of the same module that is neither weight nor bias, as of quantized weights; None if none."""
        for spelled in dict.fromkeys(self._spelled(tensor)):
            module = spelled.rpartition(".")[0]
            for at in range(bisect_left(self._sorted, f"{module}."), len(self._sorted)):
                name = self._sorted[at]
                if not name.startswith(f"{module}."):
                    break
                if name not in (f"{module}.weight", f"{module}.bias"):
                    return name
        return None

    def _spelled(self, tensor: str) -> Iterator[str]:
        bare = tensor.removeprefix(self._prefix)
        yield tensor
        yield bare
        for wrapper in _WRAPPERS:
            yield wrapper + tensor
            yield wrapper + bare
        if bare != tensor:
            yield f"model.language_model.{bare}"
