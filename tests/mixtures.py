"""A tiny mixture of experts with random weights, on one engine."""

from dataclasses import replace

from edge.session import Model
from models.spec import Activation, DecoderSpec, Gated, MoE, TopFirst
from models.sublayers.experts import Shared
from tests.tiny import TINY_SPECS, FakeCheckpoint, tiny_weights

EXPERTS, TOP_K, WIDTH = 6, 2, 10


def mixture_spec(experts: int = EXPERTS, top_k: int = TOP_K, *, shared: bool = False) -> DecoderSpec:
    """Three layers, of which the middle one has a dense FFN."""
    spec = TINY_SPECS["llama-shared-heads-tied"]
    mixture = MoE(n_experts=experts, top_k=top_k, expert=Gated(Activation.SILU, WIDTH, False), router=TopFirst())
    if shared:
        mixture = replace(mixture, shared=Shared(Gated(Activation.SILU, 7, False), gated=False))
    layers = tuple(replace(layer, ffn=mixture if index != 1 else layer.ffn) for index, layer in enumerate(spec.layers))
    return replace(spec, layers=layers, context=512)


def mixture_model(spec: DecoderSpec | None = None, engine: str = "torch") -> Model:
    """The decoder on an engine; it has no tokenizer."""
    spec = spec or mixture_spec()
    return Model(FakeCheckpoint(spec, tiny_weights(spec, 0), name="mixture"), engine, None, lambda _: None)
