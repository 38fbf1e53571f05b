"""Mixtures of experts in configs and checkpoints: sizes, and the tensors of all experts of a layer."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from models.families.config import Config
from models.families.family import KEYS as DENSE_KEYS
from models.families.views import AsIs, InTurn, Join, Stored, View
from models.sites import FFN
from models.spec import DecoderSpec, Gated, LayerSpec, MoE, NoShared, Router, SharedExpert

KEYS = DENSE_KEYS | {
    "n_experts": "num_experts",
    "d_expert": "moe_intermediate_size",
    "d_shared": "shared_expert_intermediate_size",
}
"""The config keys of sizes of Qwen, for messages."""

LOCAL = KEYS | {"n_experts": "num_local_experts", "d_expert": "intermediate_size"}
"""The same for Mixtral and others."""

UNUSED = frozenset({"output_router_logits", "router_aux_loss_coef", "router_jitter_noise"})
"""Keys of training that change no logit."""


def mixture_of(
    config: Config,
    router: Router,
    *,
    count: str = "num_experts",
    width: str = "moe_intermediate_size",
    shared: SharedExpert | None = None,
) -> MoE:
    """A mixture of gated experts; `count` and `width` are keys of the config."""
    n_experts = config.count(count)
    top_k = config.count("num_experts_per_tok")
    if top_k > n_experts:
        raise config.refusal("num_experts_per_tok", f"at most '{count}', which is {n_experts}")
    return MoE(
        n_experts=n_experts,
        top_k=top_k,
        expert=Gated(config.activation("hidden_act"), config.count(width), bias=False),
        router=router,
        shared=shared or NoShared(),
    )


def with_mixtures(config: Config, layers: list[LayerSpec], mixture: MoE) -> list[LayerSpec]:
    """The layers of Qwen: each `decoder_sparse_step`-th layer has a mixture, except those in `mlp_only_layers`."""
    step, dense = config.count("decoder_sparse_step"), config.stated("mlp_only_layers") or []
    if not isinstance(dense, list) or any(isinstance(one, bool) or not isinstance(one, int) for one in dense):
        raise config.refusal("mlp_only_layers", "a list of layers")
    return [
        replace(layer, ffn=mixture) if index not in dense and (index + 1) % step == 0 else layer
        for index, layer in enumerate(layers)
    ]


@dataclass(frozen=True)
class ExpertNames:
    """Names of the tensors of experts within a layer.

    Attributes:
        root: Prefix of all of them: `mlp.experts`.
        gate, up, down: Names within one expert, stored one by one: `mlp.experts.3.gate_proj.weight`.
        fused: Names of the stacks of gates above ups and of downs, in which transformers 5 has them; empty for none.
    """

    root: str
    gate: str = "gate_proj"
    up: str = "up_proj"
    down: str = "down_proj"
    fused: tuple[str, str] = ("gate_up_proj", "down_proj")


def stored_experts(spec: DecoderSpec, names: ExpertNames, root: str = "model.") -> dict[str, Stored]:
    """The stored tensors of all experts: one by one as in published checkpoints, or in stacks."""
    found: dict[str, Stored] = {}
    for layer, kind in enumerate(spec.layers):
        if isinstance(kind.ffn, MoE):
            within, experts = f"{root}layers.{layer}.{names.root}", range(kind.ffn.n_experts)
            for ours, split, stack, view in _stacks(names):
                tensors = [f"{within}.{expert}.{part}.weight" for part in split for expert in experts]
                fused = Stored(f"{within}.{stack}", view)
                found[f"layers.{layer}.{FFN}.experts.{ours}.weight"] = Stored(
                    tensors[0], others=tuple(tensors[1:]), join=Join(len(experts)), instead=fused
                )
    return found


def _stacks(names: ExpertNames) -> Iterator[tuple[str, tuple[str, ...], str, View]]:
    yield "gate_up", (names.gate, names.up), names.fused[0], InTurn()
    yield "down", (names.down,), names.fused[1], AsIs()


def mixture_in(spec: DecoderSpec) -> MoE:
    """The mixture of the first layer that has one."""
    return next(layer.ffn for layer in spec.layers if isinstance(layer.ffn, MoE))


ROUTER: Mapping[str, str] = {f"{FFN}.router": "mlp.gate"}
"""The router's tensor in most families."""
