"""Maps each parameter to a stored tensor by the names of its family; checks shape and type."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

import numpy as np

from models.errors import CheckpointError
from models.families.config import Config
from models.families.family import Family
from models.families.views import Stored
from models.parameters import parameters_of, part_of
from models.safetensors_file import TensorPlace
from models.spec import DecoderSpec
from models.sublayers.sublayer import Parameter
from models.tensor_names import StoredTensors
from models.weights import StoredParameter

_FLOATS = ("F32", "F16", "BF16", "F64")

_QUANTIZED = "those quantized by GPTQ, AWQ, compressed-tensors (pack-quantized), mlx-lm or 'edge export --precision'"
"""Quantized weights that Edge reads, for messages."""

_ROWS_COMPARED = 4096
"""Rows of two matrices that are compared at a time, to limit memory."""


def as_tied(config: Config, family: Family, spec: DecoderSpec, tensors: StoredTensors) -> Config:
    """The config, untied if a head is stored that differs from the embedding, as `transformers` does.

    The config itself changes, because multipliers of some families depend on tying.
    """
    if not spec.tied:
        return config
    named = family.weights_of(spec)
    embedding, head = (tensors.place_of(named[name].tensor) for name in ("embed.weight", "head.weight"))
    if embedding is None or head is None or not {embedding.kind, head.kind} <= set(_FLOATS):
        return config
    return config if _is_equal(embedding, head) else untied(config)


def untied(config: Config) -> Config:
    """The config with `tie_word_embeddings` false."""
    return replace(config, keys=dict(config.keys) | {"tie_word_embeddings": False})


def match(
    config: Config, family: Family, spec: DecoderSpec, tensors: StoredTensors, leave_out: Collection[str]
) -> dict[str, StoredParameter]:
    """The stored place of every parameter except those in `leave_out`.

    Raises:
        CheckpointError: one is missing, has another shape, or is quantized in a format that Edge does not read.
    """
    _refuse_method(config)
    named, multipliers = family.weights_of(spec), family.multipliers(config)
    parameters: dict[str, StoredParameter] = {}
    for name, parameter in parameters_of(spec).items():
        if name in leave_out:
            continue
        stored = stored_way(name, named, spec, tensors)
        for tensor in stored.tensors:
            if tensor.endswith(".weight"):
                _refuse_quantized(config, tensors, tensor)
        place = tensors.place_of(stored.tensor)
        if place is None:
            raise CheckpointError(
                f"checkpoint {config.path.parent} has no '{name}' (expected tensor '{stored.tensor}'); "
                f"config.json says {sizes_of(config, family, parameter, missing=True)}"
            )
        places = (place, *_others(config, family, parameter, stored, tensors))
        for tensor, needed, one in zip(stored.tensors, stored.shapes(parameter.shape), places, strict=True):
            _check_kind(config, tensor, one, stored.kinds)
            _check_shape(config, family, parameter, tensor, needed, one)
        multiplier = multipliers.get(part_of(name), 1.0)
        parameters[name] = StoredParameter(places, stored, multiplier)
    return parameters


def _others(
    config: Config, family: Family, parameter: Parameter, stored: Stored, tensors: StoredTensors
) -> Iterator[TensorPlace]:
    """The places of the tensors after the first one."""
    for tensor in stored.others:
        place = tensors.place_of(tensor)
        if place is None:
            raise CheckpointError(
                f"checkpoint {config.path.parent} has '{stored.tensor}', but not '{tensor}'; "
                f"config.json says {sizes_of(config, family, parameter)}"
            )
        yield place


def stored_way(name: str, named: Mapping[str, Stored], spec: DecoderSpec, tensors: StoredTensors) -> Stored:
    """The first way of storing a parameter whose tensor is there; the usual one if there is none."""
    ways = ways_of(name, named, spec)
    return next((way for way in ways if tensors.name_of(way.tensor) is not None), ways[0])


def ways_of(name: str, named: Mapping[str, Stored], spec: DecoderSpec) -> list[Stored]:
    """All ways of storing a parameter, in order of preference."""
    ways = list(named[name].ways)
    if name == "embed.weight" and spec.tied:
        ways += named["head.weight"].ways  # either of two tied matrices may be stored
    return ways


def _is_equal(place: TensorPlace, other: TensorPlace) -> bool:
    """Whether two matrices have equal values; reads blocks of rows until they differ."""
    if place.shape != other.shape:
        return False
    one, two = place.read(), other.read()
    rows = range(0, len(one), _ROWS_COMPARED)
    return all(np.array_equal(one[row : row + _ROWS_COMPARED], two[row : row + _ROWS_COMPARED]) for row in rows)


def _refuse_method(config: Config) -> None:
    """Raises CheckpointError for bitnet, which quantizes at run time. Other methods are recognized by their tensors."""
    if config.table("quantization_config").keys.get("quant_method") == "bitnet":
        raise CheckpointError(
            f"{config.path}: 'bitnet' quantizes weights and activations at run time, which Edge does not support; "
            "use a model without it"
        )


def _refuse_quantized(config: Config, tensors: StoredTensors, tensor: str) -> None:
    """Raises CheckpointError for quantized weights, recognized by additional tensors; a config may be outdated."""
    extra = tensors.extra_tensor(tensor)
    if extra is None:
        return
    folder = config.path.parent
    if ".lora_" in extra:
        raise CheckpointError(
            f"{folder} has an adapter that is not merged ({extra!r}); merge it with PEFT (merge_and_unload), and "
            "save the model again"
        )
    raise CheckpointError(
        f"{folder} has {extra!r} in addition to '{tensor}': the weights are quantized{_by(config)}; Edge reads "
        f"unquantized weights, and {_QUANTIZED}"
    )


def _check_kind(config: Config, tensor: str, place: TensorPlace, kinds: tuple[str, ...]) -> None:
    if place.kind in (kinds or _FLOATS):
        return
    said = f"'{tensor}' in {place.file} is stored as {place.kind}{_by(config)}"
    if kinds:
        raise CheckpointError(f"{said}; it must be {' or '.join(kinds)}")
    raise CheckpointError(f"{said}; Edge reads unquantized weights ({', '.join(_FLOATS)}), and {_QUANTIZED}")


def _check_shape(
    config: Config, family: Family, parameter: Parameter, tensor: str, needed: tuple[int, ...], place: TensorPlace
) -> None:
    if place.shape != needed:
        raise CheckpointError(
            f"'{tensor}' in {place.file} is {place.shape}, the spec needs {needed}; "
            f"{config.path.name} says {sizes_of(config, family, parameter)}"
        )


def _by(config: Config) -> str:
    method = config.table("quantization_config").keys.get("quant_method")
    return f" by '{method}'" if isinstance(method, str) else ""


def sizes_of(config: Config, family: Family, parameter: Parameter, *, missing: bool = False) -> str:
    """The config keys and values of a parameter's sizes; for a missing parameter also the number of layers."""
    layers = ("n_layers",) if missing and parameter.name.startswith("layers.") else ()
    sizes = (*layers, *parameter.sizes)
    complete, others = family.complete(config).keys, {ours: other for other, ours in family.aliases.items()}
    said = []
    for key in dict.fromkeys(family.keys[size] for size in sizes):
        stated = next((name for name in (others.get(key, key), key) if name in config.keys), None)
        said.append(f"{stated or key}={complete[key]}{'' if stated else ' by default'}")
    return ", ".join(said)
