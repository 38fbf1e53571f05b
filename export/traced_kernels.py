"""What all kernels of graphs share: states, experts, masks, and ONNX Runtime's attention operator."""

from abc import ABC, abstractmethod
from typing import ClassVar

from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.onnx import ops

from export.expert_kernels import ExpertKernel
from export.names import OPSET
from export.rotation import Table
from export.traced_states import Buffer, States
from models.kernels import OneByOne, Probe
from models.spec import Attention, AttentionWindow, DecoderSpec, Full, SoftCap
from models.sublayers.states import Fixed, Rolling


class TracedKernels(ABC):
    """What all kernels share: states by name, and a way to compute experts.

    Attributes:
        opset: The opset that the operators need.
    """

    opset: ClassVar[int] = OPSET

    spec: DecoderSpec
    states: States
    experts: ExpertKernel

    def mix_experts(self, experts: OneByOne, x: Tensor, given: Tensor, chosen: Tensor, see: Probe) -> Tensor:
        return self.experts(experts, x, given, chosen, see)

    def _past(self, layer: int) -> tuple[Buffer, Buffer]:
        """Keys and values of one layer before the pass."""
        return self.states.before(layer, "key"), self.states.before(layer, "value")

    def recall(self, layer: int, name: str, state: Rolling | Fixed) -> Tensor:
        return self.states.before(layer, name)

    def keep(self, layer: int, name: str, value: Tensor) -> None:
        self.states.keep(layer, **{name: value})

    @abstractmethod
    def attend(
        self, layer: int, attention: Attention, query: Tensor, key: Tensor, value: Tensor, sinks: Tensor | None
    ) -> Tensor: ...


def allowed(
    query: Int[Tensor, "batch token"], key: Int[Tensor, "batch past"], window: AttentionWindow
) -> Bool[Tensor, "batch token past"]:
    """Which keys each token can attend to, by position."""
    is_past = key[:, None, :] <= query[:, :, None]
    if isinstance(window, Full):
        return is_past
    return is_past & (key[:, None, :] > query[:, :, None] - window.tokens)


def limit_of(attention: Attention) -> float:
    """The soft cap of attention scores, as operators expect it: 0 means none."""
    return attention.score_cap.limit if isinstance(attention.score_cap, SoftCap) else 0.0


def grouped_query(
    attention: Attention,
    inputs: list[Tensor],
    scale: float,
    sinks: Float[Tensor, " head"] | None,
    tables: tuple[Table, ...] = (),
) -> tuple[Float[Tensor, "batch token all_heads"], Buffer, Buffer]:
    """ONNX Runtime's fastest attention on a CPU. Its cost depends on the number of cached tokens, not on the capacity.

    Args:
        inputs: Query, key and value, (batch, token, all_heads); the buffers before this pass; the index of each text's
            last token, and the number of tokens of the longest text, after the pass.
        scale: Factor of the scores.
        sinks: The logit of each head's sink, if there are sinks.
        tables: Cosines and sines, if the operator rotates.

    Returns:
        The outputs of all heads, and the buffers after the pass.
    """
    query, _, _, *past = inputs[:5]
    mixed, keys, values = ops.symbolic_multi_out(
        "com.microsoft::GroupQueryAttention",
        [*inputs, *(tables or (None, None)), None, None, sinks] if sinks is not None else [*inputs, *tables],
        {
            "num_heads": attention.n_heads,
            "kv_num_heads": attention.n_kv_heads,
            "scale": scale,
            "softcap": limit_of(attention),
            "local_window_size": -1 if isinstance(attention.window, Full) else attention.window.tokens,
            "do_rotary": int(bool(tables)),
        },
        dtypes=[query.dtype] * 3,
        shapes=[query.shape, *(buffer.shape for buffer in past)],
        version=1,
    )
    return mixed, keys, values
