"""A checkpoint's matrices in groups, as one safetensors file under Edge's names.

layers.3.ffn.up.codes, .scales, .zeros    a quantized matrix, `.zeros` where the scheme gives each group its own
layers.3.ffn.up.bias, head.norm.weight    everything else, float32
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import CheckpointError, MisuseError
from models.json_text import json_text, parse_json
from models.parameters import parameter_shapes, part_of
from models.precision import Scheme, Zero
from models.progress import Progress
from models.quantized import QuantizedMatrices, QuantizedMatrix, groups_of, quantize_matrix, row_bytes
from models.safetensors_file import Planned, TensorPlace, file_notes, tensor_places, write_tensors
from models.spec import DecoderSpec
from models.weights import DenseWeights, StoredParameter, StoredWeights

FORMAT = 1
"""Rises when the same weights and scheme would give another file."""

_NOTE = "edge_quantized"

Shape = tuple[int, ...]
Parameters = Mapping[str, NDArray[np.generic]]


def stem_of(parameter: str) -> str:
    """What the parts of a quantized matrix are named after: `layers.3.ffn.up` for its weight."""
    return parameter.removesuffix(".weight")


def matrices(spec: DecoderSpec, keep: Sequence[str] = ()) -> tuple[str, ...]:
    """The parameters that are quantized: every matrix but learned positions, the head and the embedding included.

    Args:
        keep: Patterns of those that stay float32, such as `head`, `layers.0.*`, `*.ffn.down`.

    Raises:
        MisuseError: a pattern that fits no matrix.
    """
    shapes = parameter_shapes(spec)
    found = [name for name, shape in shapes.items() if len(shape) == 2 and name != "embed.positions"]
    for pattern in keep:
        if not any(fnmatchcase(stem_of(name), pattern) for name in found):
            raise MisuseError(
                f"no matrix is called '{pattern}'; there are {', '.join(dict.fromkeys(map(part_of, found)))}, those of "
                "layers with their layer, such as 'layers.0.attn.query' or 'layers.*.ffn.down'"
            )
    return tuple(name for name in found if not any(fnmatchcase(stem_of(name), pattern) for pattern in keep))


def _planned(name: str, shape: Shape, scheme: Scheme) -> dict[str, Planned]:
    (rows, columns), stem = shape, stem_of(name)
    grouped = (rows, groups_of(columns, scheme))
    parts: dict[str, Planned] = {
        f"{stem}.codes": (np.dtype(np.uint8), (rows, row_bytes(columns, scheme))),
        f"{stem}.scales": (np.dtype(np.float32), grouped),
    }
    if scheme.zero is not Zero.MIDDLE:
        parts[f"{stem}.zeros"] = (np.dtype(np.uint8), grouped)
    return parts


@dataclass(frozen=True)
class Places:
    """Where the parts of one quantized matrix lie."""

    scheme: Scheme
    columns: int
    codes: TensorPlace
    scales: TensorPlace
    zeros: TensorPlace | None

    def read(self) -> QuantizedMatrix:
        zeros = None if self.zeros is None else self.zeros.read()
        return QuantizedMatrix(self.scheme, self.columns, self.codes.read(), self.scales.read(), zeros)


def _places_of(name: str, shape: Shape, scheme: Scheme, places: Mapping[str, TensorPlace]) -> Places:
    for tensor, (dtype, planned) in _planned(name, shape, scheme).items():
        if (places[tensor].dtype, places[tensor].shape) != (dtype, planned):
            raise ValueError(f"'{tensor}' is {places[tensor].shape}, not {planned}")
    codes, scales, zeros = (places.get(f"{stem_of(name)}.{part}") for part in ("codes", "scales", "zeros"))
    assert codes is not None and scales is not None
    return Places(scheme, shape[1], codes, scales, zeros)


def write_quantized(
    spec: DecoderSpec,
    weights: Parameters,
    scheme: Scheme,
    file: Path,
    progress: Progress,
    keep: Sequence[str] = (),
) -> None:
    """Packs matrix after matrix, those aside that `keep` names; no more than one is held at a time."""
    shapes, quantized = parameter_shapes(spec), matrices(spec, keep)

    def tensors() -> Iterator[tuple[str, NDArray[np.generic]]]:
        zeros: list[NDArray[np.generic]] = []
        for name in shapes:
            if name not in quantized:
                yield name, np.asarray(weights[name], np.float32)
                continue
            progress(f"rounding to {scheme.bits} bits: matrix {quantized.index(name) + 1} of {len(quantized)}")
            try:
                matrix = quantize_matrix(weights[name], scheme)
            except ValueError as error:
                raise CheckpointError(
                    f"{name} cannot be quantized: {error}; fetch or convert the model anew"
                ) from error
            yield f"{stem_of(name)}.codes", matrix.codes
            yield f"{stem_of(name)}.scales", matrix.scales
            zeros += [] if matrix.zeros is None else [matrix.zeros]
        if zeros:
            yield from zip((f"{stem_of(name)}.zeros" for name in quantized), zeros, strict=True)

    planned: dict[str, Planned] = {}
    for name, shape in shapes.items():
        planned |= _planned(name, shape, scheme) if name in quantized else {name: (np.dtype(np.float32), shape)}
    # Last, since bytes in odd numbers would leave the float32 after them at no multiple of 4.
    planned |= {name: planned.pop(name) for name in list(planned) if name.endswith(".zeros")}
    note = {"format": FORMAT, "scheme": asdict(scheme)}
    write_tensors(file, planned, tensors(), {_NOTE: json_text(note)})


def is_quantized(file: Path) -> bool:
    """Whether `write_quantized` wrote a safetensors file."""
    return _NOTE in file_notes(file)


def holds_head(file: Path) -> bool:
    """Whether a quantized file has a head of its own: a tied one is not written."""
    return bool({"head.codes", "head.weight"} & tensor_places(file).keys())


def open_quantized(file: Path, spec: DecoderSpec) -> tuple[DenseWeights, QuantizedMatrices]:
    """Every parameter as numbers, and the quantized ones as they are; nothing is read but headers.

    Raises:
        CheckpointError: the file is damaged, or was not written for this spec.
    """
    try:
        note = parse_json(file_notes(file)[_NOTE])
        scheme = Scheme(note["scheme"]["bits"], note["scheme"]["group"], Zero(note["scheme"]["zero"]))
        if note["format"] != FORMAT:
            raise ValueError(f"it has format {note['format']}, this Edge reads {FORMAT}")
        places, shapes = tensor_places(file), parameter_shapes(spec)
        names = [name for name in matrices(spec) if f"{stem_of(name)}.codes" in places]
        quantized = {name: _places_of(name, shapes[name], scheme, places) for name in names}
        others = StoredWeights({name: StoredParameter(places[name]) for name in shapes if name not in quantized})
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{file} holds no quantized weights of this decoder ({error}); quantize them again"
        ) from error
    found = QuantizedMatrices(quantized)
    return DenseWeights(found, others, (file,)), found
