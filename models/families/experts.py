"""Mixtures of experts in configs and checkpoints: sizes, and the tensors of all experts of a layer."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from models.families.config import Config
from models.families.family import KEYS as DENSE_KEYS
from models.families.stacks import Halves, Interleaved, Join
from models.families.views import Stored
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
    step, dense = config.count("decoder_sparse_step"), config.stated("mlp_only_layers")
    dense = [] if dense is None else dense
    if not isinstance(dense, list) or any(isinstance(one, bool) or not isinstance(one, int) for one in dense):
        raise config.refusal("mlp_only_layers", "a list of layers")
    return [
        replace(layer, ffn=mixture) if index not in dense and (index + 1) % step == 0 else layer
        for index, layer in enumerate(layers)
    ]


@dataclass(frozen=True)
class ExpertNames:
    """Names of the tensors of experts within a layer, stored one by one: `mlp.experts.3.gate_proj.weight`.

    Attributes:
        block: Prefix of all of them.
        in_memory: The prefix that transformers 5 has in memory, and may save.
    """

    block: str = "mlp"
    gate: str = "gate_proj"
    up: str = "up_proj"
    down: str = "down_proj"
    in_memory: str = "mlp"


def stored_experts(spec: DecoderSpec, names: ExpertNames, root: str = "model.") -> dict[str, Stored]:
    """The stored tensors of all experts: one by one as in published checkpoints, or in stacks."""
    found: dict[str, Stored] = {}
    for layer, kind in enumerate(spec.layers):
        if isinstance(kind.ffn, MoE):
            within, experts = f"{root}layers.{layer}.", range(kind.ffn.n_experts)
            stacks = stacked(within, names.block, names.in_memory)
            for ours, split in (("gate_up", (names.gate, names.up)), ("down", (names.down,))):
                tensors = [f"{within}{names.block}.experts.{one}.{part}.weight" for part in split for one in experts]
                found[f"layers.{layer}.{FFN}.experts.{ours}.weight"] = Stored(
                    tensors[0], others=tuple(tensors[1:]), join=Join(len(experts)), instead=stacks[ours]
                )
    return found


def stacked(within: str, block: str, in_memory: str) -> dict[str, Stored]:
    """The tensors of all experts in stacks: gates above ups, as transformers 5 has them in memory; else as mlx-lm."""
    fused, separate = f"{within}{in_memory}.experts", f"{within}{block}.switch_mlp"
    gate_up = Stored(f"{separate}.gate_proj.weight", others=(f"{separate}.up_proj.weight",), join=Halves())
    return {
        "gate_up": Stored(f"{fused}.gate_up_proj", Interleaved(), instead=gate_up),
        "down": Stored(f"{fused}.down_proj", instead=Stored(f"{separate}.down_proj.weight")),
    }


def or_stored(found: Mapping[str, Stored], part: str, other: str, root: str = "model.") -> dict[str, Stored]:
    """The tensors of a part of every layer, each of which may have another name."""
    ends = f".{part}.weight"
    return {
        name: replace(stored, instead=Stored(f"{root}{name.removesuffix(ends)}.{other}.weight"))
        for name, stored in found.items()
        if name.endswith(ends)
    }


ROUTER: Mapping[str, str] = {f"{FFN}.router": "mlp.gate"}
"""The router's tensor in most families."""
