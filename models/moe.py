"""Mixtures of experts in torch: router, experts and shared expert."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from models import spec as kinds
from models.kernels import Kernels, Probe
from models.sites import CHOSEN, FFN_OUTPUT, NEURONS, ROUTER, SCORES, SHARED_GATE, SHARED_NEURONS, layer_site
from models.spec import DecoderSpec, LayerSpec, MoE
from models.torch_parts import Dense, neurons_of, norm_of


class Stack(nn.Module):
    """One matrix and bias for each expert."""

    def __init__(self, shape: tuple[int, ...], bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(shape[:2])) if bias else None

    def products(self, x: Float[Tensor, "row column"], counts: Int[Tensor, " expert"]) -> Float[Tensor, "row out"]:
        """`x` times the transposed matrices, plus their biases; the first `counts[0]` rows are of the first expert."""
        if not len(x):
            return x.new_zeros(0, self.weight.shape[1])
        # A stack that is cut once has one gradient, where each expert's own would be as large as the stack.
        weights = self.weight.unbind() if torch.is_grad_enabled() else self.weight
        used = counts.nonzero()[:, 0]
        return torch.cat(
            [
                nn.functional.linear(rows, weights[expert], None if self.bias is None else self.bias[expert])
                for expert, rows in zip(used.tolist(), torch.split(x, counts[used].tolist()), strict=True)
            ]
        )


class Router(nn.Linear):
    """Scores every expert, and chooses."""

    def __init__(self, kind: MoE, d_model: int) -> None:
        super().__init__(d_model, kind.n_experts, kind.router_bias)
        self.kind = kind
        corrected = isinstance(kind.router, kinds.Sigmoid) and kind.router.corrected
        self.correction = nn.Parameter(torch.empty(kind.n_experts)) if corrected else None

    def choose(
        self, scores: Float[Tensor, "token expert"]
    ) -> tuple[Float[Tensor, "token expert"], Int[Tensor, "token slot"]]:
        """The weight of every expert, 0 where it is not chosen; and the chosen experts in ascending order."""
        router, scores = self.kind.router, scores.to(torch.promote_types(scores.dtype, torch.float32))
        match router:
            case kinds.TopFirst():
                shares = scores
            case kinds.SoftmaxFirst():
                shares = torch.softmax(scores, dim=-1)
            case kinds.Sigmoid():
                shares = torch.sigmoid(scores)
        ranked = shares if self.correction is None else shares + self.correction.to(shares.dtype)
        chosen = torch.topk(self._in_groups(ranked), self.kind.top_k, dim=-1).indices.sort(dim=-1).values
        weights = shares.gather(-1, chosen)
        match router:
            case kinds.TopFirst():
                weights = torch.softmax(weights, dim=-1)
            case kinds.SoftmaxFirst(renormalized, scale):
                weights = scale * (weights / weights.sum(dim=-1, keepdim=True) if renormalized else weights)
            case kinds.Sigmoid(_, renormalized, eps, scale):
                weights = scale * (weights / (weights.sum(dim=-1, keepdim=True) + eps) if renormalized else weights)
        return torch.zeros_like(scores).scatter(-1, chosen, weights), chosen

    def _in_groups(self, ranked: Float[Tensor, "token expert"]) -> Float[Tensor, "token expert"]:
        """The ranks, with -inf for experts outside the best groups."""
        groups = self.kind.groups
        if isinstance(groups, kinds.NoGroups):
            return ranked
        grouped: Tensor = ranked.unflatten(-1, (groups.count, -1))  # type: ignore[no-untyped-call]
        best = grouped.topk(groups.best, dim=-1).values.sum(dim=-1).topk(groups.kept, dim=-1).indices
        kept = torch.zeros_like(grouped[..., 0]).scatter(-1, best, 1.0)[..., None] > 0
        return grouped.masked_fill(~kept, float("-inf")).flatten(-2)


class Experts(nn.Module):
    """All experts of one layer."""

    def __init__(self, kind: MoE, d_model: int, layer: int) -> None:
        super().__init__()
        self.kind, self.neurons_site = kind, layer_site(layer, NEURONS)
        shapes = {one.name: one.shape for one in kind.parameters(d_model)}
        for name in (kind.first, "down"):
            self.add_module(name, Stack(shapes[f"experts.{name}.weight"], kind.expert.bias))

    def forward(
        self,
        x: Float[Tensor, "token model"],
        given: Float[Tensor, "token expert"],
        chosen: Int[Tensor, "token slot"],
        kernels: Kernels,
        see: Probe,
    ) -> Float[Tensor, "token model"]:
        return kernels.mix_experts(self, x, given, chosen, see)

    @property
    def first(self) -> Stack:
        """The matrices before the activation."""
        return self.get_submodule(self.kind.first)  # type: ignore[return-value]

    @property
    def last(self) -> Stack:
        """The matrices after the activation."""
        return self.get_submodule("down")  # type: ignore[return-value]

    def activations(self, first: Float[Tensor, "*token row"]) -> Float[Tensor, "*token neuron"]:
        """The neurons of one expert from the product with its first matrix."""
        if self.kind.first == "up":
            return neurons_of(self.kind.expert, first, None)
        return neurons_of(self.kind.expert, first[..., 1::2], first[..., 0::2])

    def one_by_one(
        self,
        x: Float[Tensor, "token model"],
        given: Float[Tensor, "token expert"],
        chosen: Int[Tensor, "token slot"],
        see: Probe,
    ) -> Float[Tensor, "token model"]:
        """`Σ_e given_e · expert_e(x)`, each expert with the tokens that chose it."""
        order = chosen.flatten().argsort(stable=True)
        places, tokens = order.argsort(), order // chosen.shape[-1]
        counts = torch.bincount(chosen.flatten(), minlength=self.kind.n_experts)
        neurons = self.activations(self.first.products(x[tokens], counts)).to(x.dtype)
        neurons = see(self.neurons_site, neurons[places].reshape(*chosen.shape, self.kind.expert.d_ff), chosen)
        weights = given.gather(-1, chosen).flatten()[order, None]
        written = weights * self.last.products(neurons.flatten(0, 1)[order], counts)
        return torch.zeros_like(x).index_add(0, tokens, written.to(x.dtype))


class SharedExpert(Dense):
    """The FFN that every token uses."""

    def __init__(self, ffn: kinds.Dense, d_model: int, layer: int) -> None:
        super().__init__(ffn, d_model)
        self.site = layer_site(layer, SHARED_NEURONS)

    def forward(self, x: Float[Tensor, "token model"], see: Probe) -> Float[Tensor, "token model"]:
        output: Tensor = self.written(x, self.site, see)
        return output


class Mixture(nn.Module):
    """The router, its experts and the shared expert, with the norms around them."""

    def __init__(self, kind: MoE, spec: DecoderSpec, layer_spec: LayerSpec, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.norm = norm_of(layer_spec.norm, spec.d_model) if layer_spec.norms_before else None
        self.router = Router(kind, spec.d_model)
        self.experts = Experts(kind, spec.d_model, layer)
        shared = kind.shared
        self.shared = SharedExpert(shared.ffn, spec.d_model, layer) if isinstance(shared, kinds.Shared) else None
        gated = isinstance(shared, kinds.Shared) and shared.gated
        self.shared_gate = nn.Linear(spec.d_model, 1, bias=False) if gated else None
        self.after = norm_of(layer_spec.norm, spec.d_model) if layer_spec.norms_after else None

    def forward(
        self, x: Float[Tensor, "*batch token model"], kernels: Kernels, see: Probe
    ) -> Float[Tensor, "*batch token model"]:
        x = x if self.norm is None else self.norm(x)
        output = self._mixed(x.flatten(0, -2), kernels, see).reshape(x.shape)
        return see(layer_site(self.layer, FFN_OUTPUT), output if self.after is None else self.after(output))

    def _mixed(self, x: Float[Tensor, "token model"], kernels: Kernels, see: Probe) -> Float[Tensor, "token model"]:
        scores = see(layer_site(self.layer, SCORES), self.router(x))
        given, chosen = self.router.choose(scores)
        given = see(layer_site(self.layer, ROUTER), given)
        see(layer_site(self.layer, CHOSEN), chosen)
        output: Tensor = self.experts(x, given, chosen, kernels, see)
        if self.shared is None:
            return output
        gate = None
        if self.shared_gate is not None:
            gate = see(layer_site(self.layer, SHARED_GATE), torch.sigmoid(self.shared_gate(x)))
        shared = self.shared(x, see)
        both: Tensor = output + (shared if gate is None else gate * shared)
        return both
