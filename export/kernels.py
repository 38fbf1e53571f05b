"""Attention and rotary positions as ONNX operators, for tracing a decoder.

    Portable        standard operators; new keys and values are concatenated to the past ones
    Served          the grouped-query operator on the buffers of onnxruntime-genai, for a batch of texts
    Buffered        keys and values in buffers of fixed capacity, written in place:
        Standard        standard operators, for head sizes that the grouped-query operator does not support
        GroupedQuery    com.microsoft::GroupQueryAttention on heads that are already rotated
        FusedRotary     the same, with rotation inside the operator

They are only traced: `torch.onnx.ops` records the operator and computes nothing.
"""

from export.batched_kernels import Batched, Portable, Served
from export.buffered_kernels import Buffered, FusedRotary, GroupedQuery, Standard
from export.layout import groups_queries
from export.rotation import rotates_inside
from models.spec import DecoderSpec

Kernels = type[Buffered] | type[Batched]


def kernels_of(spec: DecoderSpec) -> dict[str, Kernels]:
    """The fastest kernels of each graph for this decoder. Graphs with sites do not fuse the rotation."""
    grouped = GroupedQuery if groups_queries(spec) else Standard
    fused = any(rotates_inside(one) for one in spec.attentions)
    served = Served if grouped is GroupedQuery else Portable
    return {
        "fast": FusedRotary if fused else grouped,
        "probe": grouped,
        "edit": grouped,
        "std": Portable,
        "genai": served,
    }
