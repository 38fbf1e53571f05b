"""A mixture of experts: several small FFNs, of which a router chooses a few for each token."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from models.errors import SpecError
from models.sublayers.activation import Activation
from models.sublayers.dense import Dense, Plain
from models.sublayers.routers import ExpertGroups, Groups, NoGroups, Router, Sigmoid
from models.sublayers.sublayer import FFN, Parameter, SiteAxes, Use, at_least_one, linear
from models.sublayers.work import Work

_EXPERT, _ROUTER = ("n_experts", "d_expert", "d_model"), ("n_experts", "d_model")


@dataclass(frozen=True)
class NoShared:
    """No shared expert."""


@dataclass(frozen=True)
class Shared:
    """One more FFN, which every token uses.

    Attributes:
        gated: Whether its output is multiplied by `sigmoid(x · v)`, one number per token.
    """

    ffn: Dense
    gated: bool


SharedExpert = NoShared | Shared


@dataclass(frozen=True, kw_only=True)
class MoE(FFN):
    """`Σ_e weight_e · expert_e(x)` over the experts that the router chooses, plus the shared expert.

    Neurons are numbered over all experts: neuron `j` of expert `e` is `e * expert.d_ff + j`; those of the shared
    expert follow.

    Attributes:
        top_k: Experts of a token.
        expert: One expert. A gated one has its gates and ups in one stack, interleaved: gate 0, up 0, gate 1, up 1.
        router_bias: Whether the router's scores have a bias.
    """

    parts: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "norm": ("norm", "after"),
        "router": ("router",),
        "experts": ("experts",),
        "shared": ("shared", "shared_gate"),
    }
    rest: ClassVar[str] = "router"
    writes: ClassVar[tuple[str, ...]] = ("experts.down", "shared.down")
    neuron_sites: ClassVar[tuple[str, ...]] = ("router", "chosen", "neurons", "shared.gate", "shared.neurons")

    n_experts: int
    top_k: int
    expert: Dense
    router: Router
    router_bias: bool = False
    groups: ExpertGroups = field(default_factory=NoGroups)
    shared: SharedExpert = field(default_factory=NoShared)

    @property
    def activation(self) -> Activation:  # type: ignore[override]
        return self.expert.activation

    @property
    def d_ff(self) -> int:  # type: ignore[override]
        return self.d_routed + self.d_shared

    @property
    def d_routed(self) -> int:
        """Neurons of all experts that the router chooses from."""
        return self.n_experts * self.expert.d_ff

    @property
    def d_shared(self) -> int:
        """Neurons of the shared expert."""
        return self.shared.ffn.d_ff if isinstance(self.shared, Shared) else 0

    @property
    def d_used(self) -> int:
        return self.top_k * self.expert.d_ff + self.d_shared

    @property
    def shared_gated(self) -> bool:
        """Whether the shared expert has a gate."""
        return isinstance(self.shared, Shared) and self.shared.gated

    @property
    def first(self) -> str:
        """The name of the stack before the activation."""
        return "up" if isinstance(self.expert, Plain) else "gate_up"

    def check(self, where: str) -> None:
        at_least_one(where, n_experts=self.n_experts, top_k=self.top_k)
        self.expert.check(where)
        if self.top_k > self.n_experts:
            raise SpecError(f"{where}{self.top_k} experts are chosen, but there are {self.n_experts}")
        if isinstance(self.groups, Groups):
            self._check_groups(where, self.groups)

    def _check_groups(self, where: str, groups: Groups) -> None:
        if self.n_experts % groups.count:
            raise SpecError(f"{where}{self.n_experts} experts cannot form {groups.count} equal groups")
        size = self.n_experts // groups.count
        if not (1 <= groups.kept <= groups.count and 1 <= groups.best <= size and self.top_k <= groups.kept * size):
            raise SpecError(
                f"{where}{self.top_k} experts of the {groups.kept} best of {groups.count} groups of {size} experts "
                "cannot be chosen"
            )

    def parameters(self, d_model: int) -> Iterator[Parameter]:
        yield from linear("router", self.n_experts, d_model, self.router_bias, _ROUTER, product=False)
        if isinstance(self.router, Sigmoid) and self.router.corrected:
            yield Parameter("router.correction", (self.n_experts,), ("n_experts",))
        rows = self.expert.d_ff * (1 if self.first == "up" else 2)
        yield from self._stack(self.first, rows, d_model)
        yield from self._stack("down", d_model, self.expert.d_ff)
        if isinstance(self.shared, Shared):
            for parameter in self.shared.ffn.parameters(d_model):
                yield replace(parameter, name=f"shared.{parameter.name}", sizes=("d_shared", "d_model"))
            if self.shared.gated:
                yield Parameter("shared_gate.weight", (1, d_model))

    def _stack(self, name: str, rows: int, columns: int) -> Iterator[Parameter]:
        """The matrices of all experts, and their biases."""
        yield Parameter(f"experts.{name}.weight", (self.n_experts, rows, columns), _EXPERT, product=True)
        if self.expert.bias:
            yield Parameter(f"experts.{name}.bias", (self.n_experts, rows), _EXPERT)

    def sites(self) -> Mapping[str, SiteAxes]:
        experts, width = {"expert": self.n_experts}, self.expert.d_ff
        sites = {
            "scores": SiteAxes("token", experts),  # before the choice; an edit of it changes the choice
            "router": SiteAxes("token", experts),  # weight given; 0 for experts that are not chosen
            "chosen": SiteAxes("token", {"slot": self.top_k}, editable=False),  # experts in ascending order
            "neurons": SiteAxes(
                "token", {"slot": self.top_k, "neuron": width}, changed={"expert": self.n_experts, "neuron": width}
            ),
        }
        if self.shared_gated:
            sites["shared.gate"] = SiteAxes("token", {"gate": 1})
        if isinstance(self.shared, Shared):
            sites["shared.neurons"] = SiteAxes("token", {"neuron": self.d_shared})
        return sites

    def use(self, parameter: Parameter, tokens: int) -> Use:
        """Experts that no token chooses are not read: at most `top_k` experts for each token."""
        if not parameter.name.startswith("experts."):
            return Use(1.0, tokens)
        rows = tokens * self.top_k
        return Use(min(1.0, rows / self.n_experts), rows)

    def work(self, float_bytes: int, tokens: int, depth: int) -> Work:
        """Weights of the experts; the activations of chosen neurons are part of their products."""
        return Work(2.0 * tokens * self.n_experts * float_bytes, 0.0)
