"""Names of tensors in GGUF files. Parts have the same names in all architectures, with few exceptions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.families.stacks import Halves
from models.families.stacks import Interleaved as InterleavedHalves
from models.families.views import AsIs, Interleaved, Rows, Shape, Stored, View
from models.parameters import parameter_shapes
from models.sources.gguf.keys import GgufKeys
from models.spec import Attention, DecoderSpec, MoE, Parallel, Rotary

_PARTS = {
    "attn.norm": "attn_norm",
    "attn.query": "attn_q",
    "attn.key": "attn_k",
    "attn.value": "attn_v",
    "attn.out": "attn_output",
    "attn.query_norm": "attn_q_norm",
    "attn.key_norm": "attn_k_norm",
    "attn.after": "post_attention_norm",
    "ffn.norm": "ffn_norm",
    "ffn.gate": "ffn_gate",
    "ffn.up": "ffn_up",
    "ffn.down": "ffn_down",
    "ffn.after": "post_ffw_norm",
    "ffn.router": "ffn_gate_inp",
    "ffn.experts.down": "ffn_down_exps",
    "ffn.shared.gate": "ffn_gate_shexp",
    "ffn.shared.up": "ffn_up_shexp",
    "ffn.shared.down": "ffn_down_shexp",
}
"""Names of the parts of a layer."""

_OUTSIDE = {"embed": "token_embd", "head.norm": "output_norm", "head": "output"}

_INTERLEAVED = frozenset(
    {"llama", "granite", "granitemoe", "smollm3", "arcee", "mistral3", "cohere2", "ernie4_5", "glm4"}
)
"""Architectures whose queries and keys are stored for a rotation of neighboring features.

Those of the last three are so in Hugging Face's files too; llama.cpp puts those of the others into that order.
"""

_GATES_IN_UP = frozenset({"phi3", "glm4"})
"""Architectures that store gates and ups in one tensor, gates first."""

_FUSED = frozenset({"gpt2", "gptneox", "phi3"})
"""Architectures that store queries, keys and values in one tensor; others may."""

_ONE_NORM = frozenset({"phi2", "stablelm", "cohere2"})
"""Architectures whose parallel sublayers share a norm."""

_EXCEPTIONS: Mapping[str, Mapping[str, str]] = {
    "gpt-oss": {"ffn.norm": "post_attention_norm"},
    "seed_oss": {"ffn.norm": "post_attention_norm"},
}
"""Parts that an architecture stores under another name."""


@dataclass(frozen=True)
class Row:
    """One row of a matrix, such as the norm of one head."""

    row: int
    of: int

    def stored_shape(self, shape: Shape) -> Shape:
        return (self.of, *shape)

    def read(self, stored: NDArray[np.generic]) -> NDArray[np.generic]:
        return np.asarray(stored[self.row])


@dataclass(frozen=True)
class Flat:
    """A matrix of one row, stored as a vector."""

    def stored_shape(self, shape: Shape) -> Shape:
        return shape[1:]

    def read(self, stored: NDArray[np.generic]) -> NDArray[np.generic]:
        return stored[None]


@dataclass(frozen=True)
class Within:
    """Some rows of a tensor, and the view in which they have a parameter."""

    rows: Rows
    view: View

    def stored_shape(self, shape: Shape) -> Shape:
        return self.rows.stored_shape(self.view.stored_shape(shape))

    def read(self, stored: NDArray[np.generic]) -> NDArray[np.generic]:
        return self.view.read(self.rows.read(stored))


def names_of(keys: GgufKeys) -> Callable[[DecoderSpec], dict[str, Stored]]:
    """For `Family.weights_of`: the tensor of every parameter in a file."""
    architecture = keys.architecture
    parts = _PARTS | dict(_EXCEPTIONS.get(architecture, {}))

    def weights_of(spec: DecoderSpec) -> dict[str, Stored]:
        found = {f"head.{kind}": Stored(f"output.{kind}") for kind in ("weight", "bias")}
        for name in parameter_shapes(spec):
            found[name] = _stored(name, spec, parts, keys)
        if architecture in _GATES_IN_UP:
            found |= _gates_in_up(spec)
        return found

    return weights_of


def _stored(name: str, spec: DecoderSpec, parts: Mapping[str, str], keys: GgufKeys) -> Stored:
    stem, _, kind = name.rpartition(".")
    if name == "embed.positions":
        return Stored("position_embd.weight")
    if not name.startswith("layers."):
        return Stored(f"{_OUTSIDE.get(stem, stem)}.{kind}")
    _, index, part = stem.split(".", 2)
    within, layer = f"blk.{index}.", spec.layers[int(index)]
    if part == "attn" and kind == "sinks":
        return Stored(f"{within}attn_sinks.weight")
    if part == "ffn.experts.gate_up":
        both = Stored(f"{within}ffn_gate_up_exps.{kind}", InterleavedHalves())
        gates, ups = f"{within}ffn_gate_exps.{kind}", f"{within}ffn_up_exps.{kind}"
        return Stored(gates, others=(ups,), join=Halves(), instead=both)
    if part == "ffn.shared_gate":  # a vector in old files, a matrix of one row in new ones
        tensor = f"{within}ffn_gate_inp_shexp.weight"
        return Stored(tensor, AsIs() if len(keys.tensors.get(tensor, ())) > 1 else Flat())
    if part.startswith(("attn.query_norm.norms.", "attn.key_norm.norms.")):
        normed, _, head = part.partition(".norms.")
        n_heads = layer.attention.n_heads if normed == "attn.query_norm" else layer.attention.n_kv_heads
        return Stored(f"{within}{parts[normed]}.weight", Row(int(head), n_heads))
    if part == "ffn.norm" and isinstance(layer.residual, Parallel) and keys.architecture in _ONE_NORM:
        part = "attn.norm"
    stored = Stored(f"{within}{parts.get(part, part)}.{kind}")
    if part not in ("attn.query", "attn.key", "attn.value"):
        return stored
    view = _order_of(part, layer.attention, keys.architecture)
    alone = replace(stored, view=view)
    fused = Stored(f"{within}attn_qkv.{kind}", Within(_rows_of(part, layer.attention), view))
    usual, other = (fused, alone) if keys.architecture in _FUSED else (alone, fused)
    return replace(usual, instead=other)


def _order_of(part: str, attention: Attention, architecture: str) -> View:
    """The order of the rows of queries, keys or values."""
    if architecture not in _INTERLEAVED or part == "attn.value":
        return AsIs()
    position = attention.position
    rotated = position.features if isinstance(position, Rotary) else attention.head_dim
    return Interleaved(attention.head_dim, rotated)


def _rows_of(part: str, attention: Attention) -> Rows:
    """The rows of queries, keys or values in a tensor with the three, one above the other."""
    queries, keys = attention.query_width, attention.key_width
    whole = queries + 2 * keys
    first, end = {
        "attn.query": (0, queries),
        "attn.key": (queries, queries + keys),
        "attn.value": (queries + keys, whole),
    }[part]
    return Rows(first, end, whole)


def _gates_in_up(spec: DecoderSpec) -> dict[str, Stored]:
    found = {}
    for layer, kind in enumerate(spec.layers):
        if not isinstance(kind.ffn, MoE):
            width = kind.ffn.d_ff
            for part, first in (("gate", 0), ("up", width)):
                view = Rows(first, first + width, 2 * width)
                found[f"layers.{layer}.ffn.{part}.weight"] = Stored(f"blk.{layer}.ffn_up.weight", view)
    return found
