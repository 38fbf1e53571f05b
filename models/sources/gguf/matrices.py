"""The quantized parameters of a GGUF file, read without requantizing them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import CheckpointError
from models.families.config import Config
from models.families.family import Family
from models.families.views import Stored
from models.matching import stored_way
from models.parameters import parameters_of, part_of
from models.precision import Scheme
from models.quantized import QuantizedMatrices, QuantizedMatrix
from models.safetensors_file import DTYPES
from models.sources.gguf.blocks import BLOCK_SCHEMES, matrix_of
from models.sources.gguf.file import GgufTensor
from models.spec import DecoderSpec, MoE
from models.sublayers.sublayer import Parameter
from models.tensor_names import StoredTensors

_LAYER = re.compile(r"blk\.(\d{1,6})\.")

_TABLES = re.compile(r"rot_embd|rope_|\.nextn\.")
"""Tensors of layers that hold angles, or belong to the prediction of further tokens."""


@dataclass(frozen=True)
class GgufMatrix:
    """One parameter: its tensors, and how it is stored in them."""

    kind: str
    shape: tuple[int, ...]
    tensors: tuple[GgufTensor, ...]
    way: Stored
    multiplier: float

    @property
    def scheme(self) -> Scheme:
        return BLOCK_SCHEMES[self.kind]

    @property
    def stored_bytes(self) -> int:
        """Bytes of its rows in the file; a tensor may have the rows of other parameters too."""
        return int(np.prod(self.shape[:-1])) * self.tensors[0].row_bytes

    def read(self) -> QuantizedMatrix:
        """The matrix. Rows are taken, ordered and joined as whole rows of codes, scales and offsets."""
        matrices = [self._decoded(tensor) for tensor in self.tensors]
        first, n_experts = matrices[0], self.shape[0] if len(self.shape) > 2 else None
        parts: dict[str, NDArray[np.generic] | None] = {}
        for part in ("codes", "scales", "zeros", "offsets"):
            stored = [getattr(matrix, part) for matrix in matrices]
            parts[part] = None if stored[0] is None else self._rows(stored)
        return QuantizedMatrix(first.scheme, self.shape[-1], n_experts=n_experts, **parts)  # type: ignore[arg-type]

    def _decoded(self, tensor: GgufTensor) -> QuantizedMatrix:
        try:
            return matrix_of(self.kind, tensor.rows(), tensor.shape[-1], self.multiplier)
        except ValueError as error:
            raise CheckpointError(f"{tensor.file} is damaged: {error}; download or copy it again") from error

    def _rows(self, stored: list[NDArray[np.generic]]) -> NDArray[np.generic]:
        shaped = [part.reshape(*tensor.shape[:-1], -1) for part, tensor in zip(stored, self.tensors, strict=True)]
        rows = self.way.read(shaped)
        return np.ascontiguousarray(rows).reshape(-1, rows.shape[-1])


@dataclass(frozen=True)
class GgufMatrices:
    """Finds the quantized parameters among the tensors of one file, and checks the tensors of all parameters.

    Attributes:
        held: The tensors of the file by name.
    """

    held: Mapping[str, GgufTensor]

    def __call__(self, config: Config, family: Family, spec: DecoderSpec, tensors: StoredTensors) -> QuantizedMatrices:
        """For `models.sources.matched`.

        Raises:
            CheckpointError: a tensor is missing, has another shape or no place in the decoder, or the tensors of one
                parameter have several types.
        """
        named, multipliers = family.weights_of(spec), family.multipliers(config)
        matrices: dict[str, GgufMatrix] = {}
        used: set[str] = set()
        for name, parameter in parameters_of(spec).items():
            way = stored_way(name, named, spec, tensors)
            held = self._held(config.path, way, _sizes_of(spec, parameter), parameter.shape)
            used.update(way.tensors)
            if held[0].kind in BLOCK_SCHEMES:
                multiplier = multipliers.get(part_of(name), 1.0)
                matrices[name] = GgufMatrix(held[0].kind, parameter.shape, held, way, multiplier)
        self._refuse_unused(config.path, used, spec.n_layers)
        return QuantizedMatrices(matrices)

    def _held(self, file: Path, way: Stored, sizes: str, shape: tuple[int, ...]) -> tuple[GgufTensor, ...]:
        """The tensors of one parameter, checked."""
        for tensor, needed in zip(way.tensors, way.shapes(shape), strict=True):
            if tensor not in self.held:
                raise CheckpointError(
                    f"{file} has no tensor '{tensor}', which its keys require ({sizes}); download the file again, or "
                    "another one of this model"
                )
            one = self.held[tensor]
            if one.kind not in BLOCK_SCHEMES and one.kind not in DTYPES:
                raise CheckpointError(
                    f"{one.file} has tensors of type {one.kind} ('{tensor}'), which Edge does not decode; download the "
                    f"model in another one, such as Q4_K_M or Q8_0 (Edge decodes {', '.join(BLOCK_SCHEMES)})"
                )
            if one.shape != needed:
                raise CheckpointError(
                    f"'{tensor}' in {one.file} is {one.shape}, and its keys require {needed} ({sizes}); download the "
                    "file again, or another one of this model"
                )
        held = tuple(self.held[tensor] for tensor in way.tensors)
        kinds = {one.kind for one in held}
        if len(kinds) > 1 and kinds & BLOCK_SCHEMES.keys():
            listed = ", ".join(f"'{tensor}' is {one.kind}" for tensor, one in zip(way.tensors, held, strict=True))
            raise CheckpointError(f"{file}: {listed}; Edge reads them if they have one type, so download another file")
        return held

    def _refuse_unused(self, file: Path, used: set[str], n_layers: int) -> None:
        """Refuses tensors of layers, or of the head, that the decoder does not have: without them it is another one.

        Others are ignored: those of images, sound and further tokens, and tables of rotary angles.
        """
        for tensor in self.held:
            layer = _LAYER.match(tensor)
            own = (layer and int(layer[1]) < n_layers and not _TABLES.search(tensor)) or tensor.startswith("output")
            if own and tensor not in used:
                raise CheckpointError(
                    f"{file} has the tensor '{tensor}', which Edge does not use in this architecture, so that results "
                    "would be wrong; open the model in the format of Hugging Face"
                )


_KEYS = {
    "n_layers": "block_count",
    "d_model": "embedding_length",
    "n_heads": "attention.head_count",
    "n_kv_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "d_ff": "feed_forward_length",
    "n_experts": "expert_count",
    "d_expert": "expert_feed_forward_length",
    "d_shared": "expert_shared_feed_forward_length",
    "vocab_size": "rows of token_embd",
    "context": "context_length",
}
"""The key of each size of a spec."""

_MORE = {"embed.positions": ("context",), "attn.query": ("n_kv_heads",)}
"""Sizes of tensors that depend on more than the parameter: queries may be in one tensor with keys and values."""


def _sizes_of(spec: DecoderSpec, parameter: Parameter) -> str:
    """The keys and values of a parameter's sizes, and the number of layers, for messages."""
    sizes: dict[str, int] = {
        "n_layers": spec.n_layers, "d_model": spec.d_model, "vocab_size": spec.vocab_size, "context": spec.context,
    }  # fmt: skip
    if parameter.name.startswith("layers."):
        layer = spec.layers[int(parameter.name.split(".", 2)[1])]
        attention, ffn = layer.attention, layer.ffn
        sizes |= {"n_heads": attention.n_heads, "n_kv_heads": attention.n_kv_heads, "head_dim": attention.head_dim}
        if isinstance(ffn, MoE):
            sizes |= {"n_experts": ffn.n_experts, "d_expert": ffn.expert.d_ff, "d_shared": ffn.d_shared}
        else:
            sizes["d_ff"] = ffn.d_ff
    more = _MORE.get(parameter.name, _MORE.get(part_of(parameter.name), ()))
    return ", ".join(f"{_KEYS[one]}={sizes[one]}" for one in dict.fromkeys(("n_layers", *parameter.sizes, *more)))
