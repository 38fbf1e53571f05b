"""Which stored tensor holds which parameter: found by its family's name, checked for shape and type."""

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from models.errors import CheckpointError
from models.families.config import Config
from models.families.family import Family
from models.families.views import Stored
from models.parameters import parameter_shapes, part_of
from models.safetensors_file import TensorPlace
from models.spec import DecoderSpec
from models.tensor_names import StoredTensors
from models.weights import StoredParameter

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

_FLOATS = ("F32", "F16", "BF16", "F64")

_ROWS_COMPARED = 4096
"""Of two matrices, at a time: no more is held in memory."""


def as_tied(config: Config, family: Family, spec: DecoderSpec, tensors: StoredTensors) -> Config:
    """The config, told not to tie where a head is stored that is not the embedding: `transformers` goes by the weights.

    Multipliers of some families depend on it, so it is the config that changes.
    """
    if not spec.tied:
        return config
    wanted = family.weights_of(spec)
    embedding, head = (tensors.place_of(wanted[name].tensor) for name in ("embed.weight", "head.weight"))
    if embedding is None or head is None or not {embedding.kind, head.kind} <= set(_FLOATS):
        return config
    return config if _is_equal(embedding, head) else untied(config)


def untied(config: Config) -> Config:
    """The config of a decoder whose head has weights of its own."""
    return replace(config, keys=dict(config.keys) | {"tie_word_embeddings": False})


def match(
    config: Config, family: Family, spec: DecoderSpec, tensors: StoredTensors, leave_out: Collection[str]
) -> dict[str, StoredParameter]:
    """Where every parameter lies, those aside that `leave_out` names.

    Raises:
        CheckpointError: one is missing, has another shape, or is no unquantized weight.
    """
    _refuse_method(config)
    wanted, multipliers = family.weights_of(spec), family.multipliers(config)
    found: dict[str, StoredParameter] = {}
    for name, shape in parameter_shapes(spec).items():
        if name in leave_out:
            continue
        stored = wanted[name]
        if not name.endswith(".bias"):
            _refuse_quantized(config, tensors, stored.tensor)
        place = tensors.place_of(stored.tensor)
        if place is None and name == "embed.weight" and spec.tied:
            place = tensors.place_of(wanted["head.weight"].tensor)  # which of two tied matrices is stored is a habit
        if place is None:
            raise CheckpointError(
                f"checkpoint {config.path.parent} has no '{name}' (looked for '{stored.tensor}'); "
                f"config.json says {_sizes(config, family, name, missing=True)}"
            )
        _check(config, family, name, stored, place, shape)
        found[name] = StoredParameter(place, stored.view, multipliers.get(part_of(name), 1.0))
    return found


def _is_equal(place: TensorPlace, other: TensorPlace) -> bool:
    """Whether two matrices hold the same numbers; read a part at a time, and no further than they are equal."""
    if place.shape != other.shape:
        return False
    one, two = place.read(), other.read()
    rows = range(0, len(one), _ROWS_COMPARED)
    return all(np.array_equal(one[row : row + _ROWS_COMPARED], two[row : row + _ROWS_COMPARED]) for row in rows)


def _refuse_method(config: Config) -> None:
    """Refuses what rounds dense weights as it runs; all other methods are judged by the tensors that they leave."""
    if config.table("quantization_config").keys.get("quant_method") == "bitnet":
        raise CheckpointError(
            f"{config.path}: 'bitnet' rounds weights and activations while the model runs, which Edge does not; "
            "take a model without it"
        )


def _refuse_quantized(config: Config, tensors: StoredTensors, tensor: str) -> None:
    """Quantized weights are told by the tensors beside them: a config may still speak of what was undone."""
    beside = tensors.beside(tensor)
    if beside is None:
        return
    folder = config.path.parent
    if ".lora_" in beside:
        raise CheckpointError(
            f"{folder} holds an adapter that is not merged ({beside!r}); merge it with PEFT (merge_and_unload), and "
            "save the model again"
        )
    raise CheckpointError(
        f"{folder} holds {beside!r} beside the weights of '{tensor}': they are quantized{_by(config)}; Edge reads "
        "unquantized ones, and those that mlx-lm or 'edge export --precision' quantized"
    )


def _check(
    config: Config, family: Family, name: str, stored: Stored, place: TensorPlace, shape: tuple[int, ...]
) -> None:
    if place.kind not in _FLOATS:
        raise CheckpointError(
            f"'{stored.tensor}' in {place.file} is stored as {place.kind}{_by(config)}; Edge reads unquantized weights "
            f"({', '.join(_FLOATS)}), and those that mlx-lm or 'edge export --precision' quantized"
        )
    needed = stored.view.stored_shape(shape)
    if place.shape != needed:
        raise CheckpointError(
            f"'{stored.tensor}' in {place.file} is {place.shape}, the spec needs {needed}; "
            f"{config.path.name} says {_sizes(config, family, name)}"
        )


def _by(config: Config) -> str:
    method = config.table("quantization_config").keys.get("quant_method")
    return f" by '{method}'" if isinstance(method, str) else ""


def _sizes(config: Config, family: Family, name: str, *, missing: bool = False) -> str:
    """What the config says of a parameter's sizes, or, of one that is missing, also of how many layers there are."""
    sizes = next((sizes for part, sizes in _AT_FAULT.items() if part in name), ("d_model",))
    layers = ("n_layers",) if missing and name.startswith("layers.") else ()
    keys, complete = dict.fromkeys(family.keys[size] for size in (*layers, *sizes)), family.complete(config).keys
    return ", ".join(f"{key}={complete[key]}{'' if key in config.keys else ' by default'}" for key in keys)
