"""A checkpoint folder as Hugging Face writes it, read under Edge's names, checked shape by shape."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import CheckpointError, SpecError
from models.families.config import Config
from models.families.family import Family
from models.families.registry import family_of
from models.families.views import Stored
from models.hub import INDEX, id_of
from models.mlx_format import packed_parameters
from models.packed import PackedMatrices
from models.packed_file import is_packed, open_packed
from models.parameters import parameter_shapes, part_of
from models.purpose import refuse_adapter, refuse_other_heads
from models.safetensors_file import TensorPlace, tensor_places
from models.spec import DecoderSpec
from models.weights import DenseWeights, StoredParameter, Weights

_AT_FAULT = {
    "attn.query": ("n_heads", "head_dim", "d_model"),
    "attn.key": ("n_kv_heads", "head_dim", "d_model"),
    "attn.value": ("n_kv_heads", "head_dim", "d_model"),
    "attn.out": ("n_heads", "head_dim", "d_model"),
    "ffn.norm": ("d_model",),
    "ffn": ("d_ff", "d_model"),
    "head.weight": ("vocab_size", "d_model"),
    "embed.weight": ("vocab_size", "d_model"),
}
"""Which sizes decide a parameter's shape, by a part of its name; the first match counts."""


@dataclass(frozen=True)
class Checkpoint:
    """A decoder's sizes and weights on disk.

    Attributes:
        weights: Parameters by the names of `models.parameters.parameter_shapes`.
        packed: Those of them that are stored in groups of whole numbers; `weights` has what their codes stand for.
    """

    folder: Path
    spec: DecoderSpec
    weights: Mapping[str, NDArray[np.generic]]
    packed: PackedMatrices = field(default_factory=PackedMatrices)

    @property
    def files(self) -> tuple[Path, ...]:
        """The safetensors files that hold the weights; none where they come from memory."""
        return self.weights.files if isinstance(self.weights, Weights | DenseWeights) else ()

    @property
    def name(self) -> str:
        """The folder's, or the id it has on the hub."""
        return id_of(self.folder) or self.folder.name

    @cached_property
    def stored_bytes(self) -> int:
        """Bytes of all parameters on disk; tied ones count once."""
        if isinstance(self.weights, Weights):
            return self.weights.stored_bytes(parameter_shapes(self.spec))
        if isinstance(self.weights, DenseWeights):
            packed = sum(matrix.nbytes for matrix in self.packed.values())
            return packed + self.weights.others.stored_bytes(parameter_shapes(self.spec))
        return sum(array.nbytes for array in self.weights.values())


def open_checkpoint(folder: Path) -> Checkpoint:
    """Opens a folder with `config.json` and safetensors weights; nothing is read but headers.

    Raises:
        CheckpointError: no folder, no weights, pickled, damaged or ill-fitting weights.
        SpecError: a config that Edge cannot run.
    """
    folder = folder.expanduser().resolve()
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise CheckpointError(f"{folder} {what}; a checkpoint is a folder with config.json and *.safetensors")
    refuse_adapter(folder)
    config = Config(folder / "config.json", _read_json(folder / "config.json"))
    refuse_other_heads(folder, config)
    family = family_of(config)
    spec = family.spec_of(config)
    files = _weight_files(folder)
    if len(files) == 1 and is_packed(files[0]):
        return Checkpoint(folder, spec, *open_packed(files[0], spec))
    places = {name: place for file in files for name, place in tensor_places(file).items()}
    packed = packed_parameters(config, family, spec, places)
    weights = Weights(_match(folder, config, family, spec, places, leave_out=packed.keys()))
    return Checkpoint(folder, spec, DenseWeights(packed, weights, tuple(files)) if packed else weights, packed)


def _read_json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise CheckpointError(f"{file.parent} is not a checkpoint: it has no {file.name}")
    try:
        keys = json.loads(file.read_text(encoding="utf8"))
    except (ValueError, OSError) as error:
        raise SpecError(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(keys, dict):
        raise SpecError(f"{file} holds a {type(keys).__name__}, not a table of keys")
    return keys


def _weight_files(folder: Path) -> list[Path]:
    index = folder / INDEX
    if index.is_file():
        names = _read_json(index).get("weight_map")
        if not isinstance(names, dict):
            raise CheckpointError(f"{index} has no 'weight_map', so the shards cannot be found")
        files = [folder / str(name) for name in sorted(set(names.values()))]
    else:
        files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(_no_weights(folder))
    for file in files:
        if not file.is_file():
            raise CheckpointError(f"{folder} lacks the shard {file.name} that {index.name} lists; download it again")
    return files


def _no_weights(folder: Path) -> str:
    pickled = sorted([*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")])
    if pickled:
        return (
            f"{folder} holds pickled weights ({pickled[0].name}); unpickling runs code from the file, so Edge reads "
            "safetensors only: save the model again with save_pretrained(..., safe_serialization=True)"
        )
    return f"{folder} is not a checkpoint: it has no *.safetensors file"


def _match(
    folder: Path,
    config: Config,
    family: Family,
    spec: DecoderSpec,
    places: dict[str, TensorPlace],
    leave_out: Collection[str],
) -> dict[str, StoredParameter]:
    wanted, multipliers = family.weights_of(spec), family.multipliers(config)
    found: dict[str, StoredParameter] = {}
    for name, shape in parameter_shapes(spec).items():
        if name in leave_out:
            continue
        stored = wanted[name]
        place = places.get(stored.tensor) or places.get(stored.tensor.removeprefix(family.prefix))
        if place is None:
            raise CheckpointError(
                f"checkpoint {folder} has no '{name}' (looked for '{stored.tensor}'); "
                f"config.json says {_sizes(config, family, name, missing=True)}"
            )
        _check_shape(config, family, name, stored, place, shape)
        found[name] = StoredParameter(place, stored.view, multipliers.get(part_of(name), 1.0))
    return found


def _check_shape(
    config: Config, family: Family, name: str, stored: Stored, place: TensorPlace, shape: tuple[int, ...]
) -> None:
    needed = stored.view.stored_shape(shape)
    if place.shape != needed:
        raise CheckpointError(
            f"'{stored.tensor}' in {place.file} is {place.shape}, the spec needs {needed}; "
            f"{config.path.name} says {_sizes(config, family, name)}"
        )
    if place.dtype.kind in "iub":
        raise CheckpointError(
            f"'{stored.tensor}' in {place.file} holds {place.dtype} numbers; Edge reads unquantised weights "
            "(float32, float16, bfloat16)"
        )


def _sizes(config: Config, family: Family, name: str, *, missing: bool = False) -> str:
    """What the config says of a parameter's sizes, or, of one that is missing, also of how many layers there are."""
    sizes = next((sizes for part, sizes in _AT_FAULT.items() if part in name), ("d_model",))
    layers = ("n_layers",) if missing and name.startswith("layers.") else ()
    keys, complete = dict.fromkeys(family.keys[size] for size in (*layers, *sizes)), family.complete(config).keys
    return ", ".join(f"{key}={complete[key]}{'' if key in config.keys else ' by default'}" for key in keys)


def unread_keys(folder: Path) -> tuple[str, ...]:
    """Keys of a checkpoint's config that ask for something and mean nothing to its family."""
    config = Config(folder / "config.json", _read_json(folder / "config.json"))
    return family_of(config).unread(config)
