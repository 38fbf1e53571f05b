"""Mixtures of experts in MLX; the counterpart of `models/moe.py`."""

import mlx.core as mx
import numpy as np
from jaxtyping import Float, Int
from mlx import nn

from models import spec as kinds
from models.mlx_kernels import Kernels, Probe
from models.mlx_parts import Dense, neurons_of, norm_of
from models.sites import CHOSEN, FFN_OUTPUT, NEURONS, ROUTER, SCORES, SHARED_GATE, SHARED_NEURONS, layer_site
from models.spec import DecoderSpec, LayerSpec, MoE


class Stack(nn.Module):
    """One matrix and bias for each expert."""

    def __init__(self, shape: tuple[int, ...], bias: bool) -> None:
        super().__init__()
        self.weight = mx.zeros(shape)
        self.bias = mx.zeros(shape[:2]) if bias else None

    def product(self, x: Float[mx.array, "row column"], expert: int) -> Float[mx.array, "row out"]:
        """`x` times the transposed matrix of one expert, plus its bias."""
        product = x @ self.weight[expert].T
        return product if self.bias is None else product + self.bias[expert]

    def gathered(
        self, x: Float[mx.array, "token _ column"], chosen: Int[mx.array, "token slot"]
    ) -> Float[mx.array, "token slot out"]:
        """The same for every chosen expert of every token; `x` has one row for all slots, or one for each."""
        product = mx.gather_mm(x[:, :, None], self.weight.swapaxes(-1, -2), rhs_indices=chosen)[:, :, 0]
        return product if self.bias is None else product + self.bias[chosen]


class Router(nn.Linear):
    """Scores every expert, and chooses."""

    def __init__(self, kind: MoE, d_model: int) -> None:
        super().__init__(d_model, kind.n_experts, kind.router_bias)
        self.kind = kind
        corrected = isinstance(kind.router, kinds.Sigmoid) and kind.router.corrected
        self.correction = mx.zeros((kind.n_experts,)) if corrected else None

    def choose(
        self, scores: Float[mx.array, "token expert"]
    ) -> tuple[Float[mx.array, "token expert"], Int[mx.array, "token slot"]]:
        """The weight of every expert, 0 where it is not chosen; and the chosen experts in ascending order."""
        router, scores = self.kind.router, scores.astype(mx.float32)
        match router:
            case kinds.TopFirst():
                shares = scores
            case kinds.SoftmaxFirst():
                shares = mx.softmax(scores, axis=-1, precise=True)
            case kinds.Sigmoid():
                shares = mx.sigmoid(scores)
        ranked = shares if self.correction is None else shares + self.correction.astype(mx.float32)
        chosen = mx.sort(_best(self._in_groups(ranked), self.kind.top_k), axis=-1)
        weights = mx.take_along_axis(shares, chosen, axis=-1)
        match router:
            case kinds.TopFirst():
                weights = mx.softmax(weights, axis=-1, precise=True)
            case kinds.SoftmaxFirst(renormalized, scale):
                weights = scale * (weights / weights.sum(axis=-1, keepdims=True) if renormalized else weights)
            case kinds.Sigmoid(_, renormalized, eps, scale):
                weights = scale * (weights / (weights.sum(axis=-1, keepdims=True) + eps) if renormalized else weights)
        return mx.put_along_axis(mx.zeros_like(scores), chosen, weights, axis=-1), chosen

    def _in_groups(self, ranked: Float[mx.array, "token expert"]) -> Float[mx.array, "token expert"]:
        """The ranks, with -inf for experts outside the best groups."""
        groups = self.kind.groups
        if isinstance(groups, kinds.NoGroups):
            return ranked
        grouped = ranked.reshape(len(ranked), groups.count, -1)
        score = mx.topk(grouped, groups.best, axis=-1).sum(axis=-1)
        kept = mx.put_along_axis(mx.zeros_like(score), _best(score, groups.kept), mx.array(1.0), axis=-1)
        return mx.array(mx.where(kept[..., None] > 0, grouped, -mx.inf).reshape(ranked.shape))


def _best(values: Float[mx.array, "token value"], count: int) -> Int[mx.array, "token best"]:
    """The places of the largest values, in any order."""
    return mx.argpartition(-values, kth=count - 1, axis=-1)[..., :count].astype(mx.int32)


class Experts(nn.Module):
    """All experts of one layer.

    Attributes:
        columns: Features of an input.
    """

    def __init__(self, kind: MoE, d_model: int, layer: int) -> None:
        super().__init__()
        self.kind, self.columns, self.neurons_site = kind, d_model, layer_site(layer, NEURONS)
        shapes = {one.name: one.shape for one in kind.parameters(d_model)}
        for name in (kind.first, "down"):
            self[name] = Stack(shapes[f"experts.{name}.weight"], kind.expert.bias)

    def __call__(
        self,
        x: Float[mx.array, "token model"],
        given: Float[mx.array, "token expert"],
        chosen: Int[mx.array, "token slot"],
        kernels: Kernels,
        see: Probe,
    ) -> Float[mx.array, "token model"]:
        return kernels.mix_experts(self, x, given, chosen, see)

    def activations(self, first: Float[mx.array, "*token row"]) -> Float[mx.array, "*token neuron"]:
        """The neurons of one expert from the product with its first matrix."""
        if self.kind.first == "up":
            return neurons_of(self.kind.expert, first, None)
        return neurons_of(self.kind.expert, first[..., 1::2], first[..., 0::2])

    def gathered(self, x: mx.array, given: mx.array, chosen: mx.array, see: Probe) -> Float[mx.array, "token model"]:
        """`Σ_e given_e · expert_e(x)`, with products that read the matrices of each token's experts."""
        neurons = self.activations(self[self.kind.first].gathered(x[:, None], chosen))
        neurons = see(self.neurons_site, neurons, chosen)
        weights = mx.take_along_axis(given, chosen, axis=-1).astype(x.dtype)
        written: mx.array = weights[..., None] * self["down"].gathered(neurons, chosen)
        return written.sum(axis=1)

    def one_by_one(self, x: mx.array, given: mx.array, chosen: mx.array, see: Probe) -> Float[mx.array, "token model"]:
        """The same, each expert with the tokens that chose it: faster on a CPU for many tokens."""
        places = np.argsort(np.array(chosen), axis=None, kind="stable")
        experts = np.array(chosen).reshape(-1)[places]
        used, begins = np.unique(experts, return_index=True)
        bounds = zip(used.tolist(), begins, [*begins[1:], len(experts)], strict=True)
        pieces = [(expert, mx.array(places[begin:end])) for expert, begin, end in bounds]
        slots, back = chosen.shape[1], mx.array(np.argsort(places))
        first, last = self[self.kind.first], self["down"]
        neurons = [self.activations(first.product(x[piece // slots], expert)) for expert, piece in pieces]
        by_slot = mx.concatenate(neurons)[back].reshape(*chosen.shape, -1)
        flat = see(self.neurons_site, by_slot, chosen).reshape(chosen.size, -1)
        outputs = mx.concatenate([last.product(flat[piece], expert) for expert, piece in pieces])[back]
        weights = mx.take_along_axis(given, chosen, axis=-1).astype(x.dtype)
        return (weights[..., None] * outputs.reshape(*chosen.shape, -1)).sum(axis=1)


class SharedExpert(Dense):
    """The FFN that every token uses."""

    def __init__(self, ffn: kinds.Dense, d_model: int, layer: int) -> None:
        super().__init__(ffn, d_model)
        self.columns, self.site = d_model, layer_site(layer, SHARED_NEURONS)

    def __call__(self, x: Float[mx.array, "token model"], see: Probe) -> Float[mx.array, "token model"]:
        return self.written(x, self.site, see)


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

    def __call__(
        self, x: Float[mx.array, "token model"], kernels: Kernels, see: Probe
    ) -> Float[mx.array, "token model"]:
        x = x if self.norm is None else self.norm(x)
        output = self._mixed(x, kernels, see)
        return see(layer_site(self.layer, FFN_OUTPUT), output if self.after is None else self.after(output))

    def _mixed(self, x: Float[mx.array, "token model"], kernels: Kernels, see: Probe) -> Float[mx.array, "token model"]:
        scores = see(layer_site(self.layer, SCORES), self.router(x))
        given, chosen = self.router.choose(scores)
        given = see(layer_site(self.layer, ROUTER), given)
        see(layer_site(self.layer, CHOSEN), chosen)
        output: mx.array = self.experts(x, given, chosen, kernels, see)
        if self.shared is None:
            return output
        gate = None
        if self.shared_gate is not None:
            gate = see(layer_site(self.layer, SHARED_GATE), mx.sigmoid(self.shared_gate(x)))
        shared = self.shared(x, see)
        return output + (shared if gate is None else gate * shared)
