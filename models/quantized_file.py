"""The file of a quantized checkpoint: safetensors under Edge's names.

layers.3.ffn.up.codes, .scales, .zeros    a quantized matrix, or a stack; `.zeros` if a group has its own zero point
layers.3.ffn.up.bias, head.norm.weight    everything else, float32
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import CheckpointError, MisuseError
from models.families.views import Stored
from models.json_text import json_text, parse_json
from models.parameters import parameter_shapes, parameters_of, part_of
from models.precision import Scheme, Zero
from models.progress import Progress
from models.quantized import QuantizedMatrices, QuantizedMatrix, groups_of, quantize_matrix, row_bytes
from models.safetensors_file import Planned, TensorPlace, file_metadata, tensor_places, write_tensors
from models.spec import DecoderSpec
from models.weights import DenseWeights, StoredParameter, StoredWeights

FORMAT = 1
"""Increases when equal weights and schemes would give a different file."""

_METADATA = "edge_quantized"

Shape = tuple[int, ...]
Parameters = Mapping[str, NDArray[np.generic]]


def stem_of(parameter: str) -> str:
    """The common name of the parts of a quantized matrix: `layers.3.ffn.up`."""
    return parameter.removesuffix(".weight")


def matrices(spec: DecoderSpec, keep: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of the parameters to quantize: matrices of products, with head and embedding.

    Args:
        keep: Patterns of matrices that stay float32, such as `head`, `layers.0.*`, `*.ffn.down`.

    Raises:
        MisuseError: a pattern matches no matrix.
    """
    names = [name for name, parameter in parameters_of(spec).items() if parameter.product]
    for pattern in keep:
        if not any(fnmatchcase(stem_of(name), pattern) for name in names):
            raise MisuseError(
                f"no matrix matches '{pattern}'; matrices are {', '.join(dict.fromkeys(map(part_of, names)))}, with "
                "their layer, such as 'layers.0.attn.query' or 'layers.*.ffn.down'"
            )
    return tuple(name for name in names if not any(fnmatchcase(stem_of(name), pattern) for pattern in keep))


def _planned(name: str, shape: Shape, scheme: Scheme) -> dict[str, Planned]:
    rows, columns, stem = prod(shape[:-1]), shape[-1], stem_of(name)
    grouped = (rows, groups_of(columns, scheme))
    parts: dict[str, Planned] = {
        f"{stem}.codes": (np.dtype(np.uint8), (rows, row_bytes(columns, scheme))),
        f"{stem}.scales": (np.dtype(np.float32), grouped),
    }
    if scheme.zero is not Zero.MIDDLE:
        parts[f"{stem}.zeros"] = (np.dtype(np.uint8), grouped)
    return parts


@dataclass(frozen=True)
class QuantizedPlaces:
    """Places of the parts of one quantized matrix in the file."""

    scheme: Scheme
    columns: int
    codes: TensorPlace
    scales: TensorPlace
    zeros: TensorPlace | None
    n_experts: int | None

    @property
    def kind(self) -> str:
        return f"int{self.scheme.bits}, groups of {self.scheme.group}"

    @property
    def stored_bytes(self) -> int:
        places = (self.codes, self.scales, self.zeros)
        return sum(prod(place.shape) * place.dtype.itemsize for place in places if place is not None)

    def read(self) -> QuantizedMatrix:
        zeros = None if self.zeros is None else self.zeros.read()
        return QuantizedMatrix(self.scheme, self.columns, self.codes.read(), self.scales.read(), zeros, self.n_experts)


def _places_of(name: str, shape: Shape, scheme: Scheme, places: Mapping[str, TensorPlace]) -> QuantizedPlaces:
    for tensor, (dtype, planned) in _planned(name, shape, scheme).items():
        if (places[tensor].dtype, places[tensor].shape) != (dtype, planned):
            raise ValueError(f"'{tensor}' is {places[tensor].shape}, not {planned}")
    codes, scales, zeros = (places.get(f"{stem_of(name)}.{part}") for part in ("codes", "scales", "zeros"))
    assert codes is not None and scales is not None
    return QuantizedPlaces(scheme, shape[-1], codes, scales, zeros, shape[0] if len(shape) == 3 else None)


def write_quantized(
    spec: DecoderSpec,
    weights: Parameters,
    scheme: Scheme,
    file: Path,
    progress: Progress,
    keep: Sequence[str] = (),
) -> None:
    """Quantizes and writes one matrix at a time, except those that match `keep`."""
    shapes, quantized = parameter_shapes(spec), matrices(spec, keep)

    def tensors() -> Iterator[tuple[str, NDArray[np.generic]]]:
        zeros: list[NDArray[np.generic]] = []
        for name in shapes:
            if name not in quantized:
                yield name, np.asarray(weights[name], np.float32)
                continue
            progress(f"quantizing to {scheme.bits} bits: matrix {quantized.index(name) + 1} of {len(quantized)}")
            try:
                matrix = quantize_matrix(np.reshape(weights[name], (-1, shapes[name][-1])), scheme)
            except ValueError as error:
                raise CheckpointError(
                    f"{name} cannot be quantized: {error}; download or convert the model again"
                ) from error
            yield f"{stem_of(name)}.codes", matrix.codes
            yield f"{stem_of(name)}.scales", matrix.scales
            zeros += [] if matrix.zeros is None else [matrix.zeros]
        if zeros:
            yield from zip((f"{stem_of(name)}.zeros" for name in quantized), zeros, strict=True)

    planned: dict[str, Planned] = {}
    for name, shape in shapes.items():
        planned |= _planned(name, shape, scheme) if name in quantized else {name: (np.dtype(np.float32), shape)}
    # Last, since an odd number of bytes would misalign float32 tensors after them.
    planned |= {name: planned.pop(name) for name in list(planned) if name.endswith(".zeros")}
    metadata = {"format": FORMAT, "scheme": asdict(scheme)}
    write_tensors(file, planned, tensors(), {_METADATA: json_text(metadata)})


def is_quantized(file: Path) -> bool:
    """Whether `write_quantized` wrote this safetensors file."""
    return _METADATA in file_metadata(file)


def has_head(file: Path) -> bool:
    """Whether a quantized file has a separate head; a tied head is not written."""
    return bool({"head.codes", "head.weight"} & tensor_places(file).keys())


def open_quantized(file: Path, spec: DecoderSpec) -> tuple[DenseWeights, QuantizedMatrices]:
    """All parameters dequantized, and the quantized ones in their stored form. Reads only headers.

    Raises:
        CheckpointError: the file is damaged, or was not written for this spec.
    """
    try:
        metadata = parse_json(file_metadata(file)[_METADATA])
        scheme = Scheme(metadata["scheme"]["bits"], metadata["scheme"]["group"], Zero(metadata["scheme"]["zero"]))
        if metadata["format"] != FORMAT:
            raise ValueError(f"it has format {metadata['format']}, this Edge reads {FORMAT}")
        places, shapes = tensor_places(file), parameter_shapes(spec)
        names = [name for name in matrices(spec) if f"{stem_of(name)}.codes" in places]
        quantized = {name: _places_of(name, shapes[name], scheme, places) for name in names}
        others = StoredWeights(
            {name: StoredParameter((places[name],), Stored(name)) for name in shapes if name not in quantized}
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{file} has no quantized weights of this decoder ({error}); quantize them again"
        ) from error
    quantized_matrices = QuantizedMatrices(quantized)
    return DenseWeights(quantized_matrices, others, (file,)), quantized_matrices
