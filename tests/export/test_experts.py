"""Experts in graphs compute what their definition says, fused and one after the other, dense and quantized."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from export.expert_loops import expand_experts
from export.experts import Expert, QuantizedExperts, fused, fuses, fuses_quantized, neurons, outputs, quantized_fused
from export.graphs import _quiet
from export.names import OPSET, is_inside
from export.onnx_runtime import ort
from export.operands import Operand, in_graphs
from export.widened import values_of
from models.precision import Scheme, Zero
from models.spec import Activation
from tests.quantized_matrices import BITS, random_matrix

Array = np.ndarray
TOKENS = (1, 2, 17)
EXPERTS = [Expert(activation, gated) for activation in Activation for gated in (False, True)]
EXPERTS += [Expert(Activation.SILU, True, 7.0)]
SCHEMES = [Scheme(bits, group, zero) for bits in (4, 8) for group in (32, 64) for zero in (Zero.MIDDLE, Zero.WHOLE)]
SCHEMES += [Scheme(bits, 32, zero) for bits in BITS for zero in Zero if bits not in (4, 8) or zero is Zero.OFFSET]
SCHEMES += [Scheme(bits, 16, Zero.MIDDLE) for bits in (4, 8)] + [Scheme(4, 16, Zero.OFFSET), Scheme(6, 64, Zero.OFFSET)]
SCHEMES += [Scheme(bits, 32, zero, ordered=True) for bits in (3, 8) for zero in Zero]
SWIGLU = Expert(Activation.SILU, True)

ACTIVATIONS: dict[Activation, Callable[[Array], Array]] = {
    Activation.RELU: lambda x: np.maximum(x, 0),
    Activation.RELU2: lambda x: np.maximum(x, 0) ** 2,
    Activation.GELU: lambda x: x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2))),
    Activation.GELU_TANH: lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    Activation.SILU: lambda x: x / (1 + np.exp(-x)),
}


@dataclass(frozen=True)
class Sizes:
    experts: int
    top_k: int
    width: int
    neurons: int


@dataclass(frozen=True)
class Case:
    """One mixture: its experts, whether they have biases, and how their matrices are quantized."""

    expert: Expert
    biased: bool = True
    scheme: Scheme | None = None


class Mixture(nn.Module):
    """The parameters of one case, and the functions that are traced."""

    def __init__(self, case: Case, sizes: Sizes, seed: int) -> None:
        super().__init__()
        self.case, self.sizes = case, sizes
        random, rows = np.random.default_rng(seed), sizes.neurons * (2 if case.expert.gated else 1)
        first = random.normal(0, 2 / math.sqrt(sizes.width), (sizes.experts, rows, sizes.width))
        down = random.normal(0, 1 / math.sqrt(sizes.neurons), (sizes.experts, sizes.width, sizes.neurons))
        self.biases = [random.normal(0, 1, stack.shape[:2]) if case.biased else None for stack in (first, down)]
        self.dense: list[Array] = []
        self.stacks = [self._stack(name, stack) for name, stack in (("first", first), ("down", down))]
        self.traced_biases = [
            None if bias is None else self._kept(f"bias{at}", bias.astype(np.float32))
            for at, bias in enumerate(self.biases)
        ]

    def _kept(self, name: str, values: Array) -> Tensor:
        self.register_buffer(name, torch.from_numpy(values))
        return self.get_buffer(name)

    def _stack(self, name: str, stack: Array) -> Tensor | QuantizedExperts:
        stack = stack.astype(np.float32)
        if self.case.scheme is None:
            self.dense.append(stack)
            return self._kept(name, stack)
        n_experts, rows, columns = stack.shape
        matrix = random_matrix(self.case.scheme, rows, columns, len(self.dense), n_experts, 1 / math.sqrt(columns))
        self.dense.append(matrix.dense())
        operand = Operand(f"{name}.weight", matrix.shape, in_graphs(self.case.scheme), 0)
        parts = {
            part: self._kept(f"{name}_{part}", np.array(values)) for part, values in values_of(operand, matrix).items()
        }
        return QuantizedExperts(operand.scheme, operand.columns, **parts)

    @property
    def is_fused(self) -> bool:
        if self.case.scheme is None:
            return fuses(self.case.expert)
        return fuses_quantized(self.case.expert, in_graphs(self.case.scheme), self.sizes.width, self.sizes.neurons)

    def forward(self, x: Tensor, given: Tensor, chosen: Tensor) -> list[Tensor]:
        (first, down), (first_bias, down_bias), expert = self.stacks, self.traced_biases, self.case.expert
        seen = neurons(x, chosen, first, first_bias, expert=expert)
        found = [seen, outputs(seen, given, chosen, down, down_bias)]
        if self.is_fused:
            operator: Any = fused if self.case.scheme is None else quantized_fused
            k = self.sizes.top_k
            found.append(operator(x, given, first, first_bias, down, down_bias, expert=expert, top_k=k))
        return found

    def wanted(self, x: Array, given: Array, chosen: Array) -> tuple[Array, Array]:
        """Neurons and outputs by their definition, in float64."""
        first, down = (stack.astype(np.float64) for stack in self.dense)
        biases = [0 if bias is None else bias[chosen] for bias in self.biases]
        before = np.einsum("tkrc,tc->tkr", first[chosen], x) + biases[0]
        expert = self.case.expert
        if not expert.gated:
            seen = ACTIVATIONS[expert.activation](before)
        elif expert.limit is None:
            seen = ACTIVATIONS[expert.activation](before[..., 0::2]) * before[..., 1::2]
        else:
            gate, up = (
                np.minimum(before[..., 0::2], expert.limit),
                np.clip(before[..., 1::2], -expert.limit, expert.limit),
            )
            seen = (up + 1) * gate / (1 + np.exp(-1.702 * gate))
        each = np.einsum("tkrc,tkc->tkr", down[chosen], seen) + biases[1]
        return seen, np.einsum("tkr,tk->tr", each, np.take_along_axis(given, chosen, 1))


class Mixtures(nn.Module):
    def __init__(self, cases: tuple[Case, ...], sizes: Sizes) -> None:
        super().__init__()
        self.cases = nn.ModuleList(Mixture(case, sizes, seed) for seed, case in enumerate(cases))

    def forward(self, x: Tensor, given: Tensor, chosen: Tensor) -> list[list[Tensor]]:
        return [case(x, given, chosen) for case in self.cases]


@cache
def built(cases: tuple[Case, ...], sizes: Sizes) -> tuple[Mixtures, ir.Model]:
    """All cases in one graph, which is traced once."""
    mixtures, token = Mixtures(cases, sizes).eval(), {0: torch.export.Dim.DYNAMIC}
    given = torch.zeros(3, sizes.experts)
    arguments = (torch.zeros(3, sizes.width), given, torch.zeros(3, sizes.top_k, dtype=torch.int64))
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            mixtures, arguments, dynamo=True, opset_version=OPSET, dynamic_shapes=(token,) * 3, optimize=False
        )
    assert program is not None
    expand_experts(program.model)
    return mixtures, program.model


@cache
def opened(cases: tuple[Case, ...], sizes: Sizes) -> ort.InferenceSession:
    model = built(cases, sizes)[1].clone()
    return ort.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])


def routed(sizes: Sizes, tokens: int, only: int | None = None) -> tuple[Array, Array, Array]:
    """Random inputs. Every token chooses among the first `only` experts."""
    random = np.random.default_rng(tokens)
    among = sizes.experts if only is None else only
    chosen = np.sort(np.stack([random.permutation(among)[: sizes.top_k] for _ in range(tokens)]), axis=1)
    given = np.zeros((tokens, sizes.experts), np.float32)
    np.put_along_axis(given, chosen, random.uniform(0.1, 1.5, chosen.shape).astype(np.float32), 1)
    return random.normal(size=(tokens, sizes.width)).astype(np.float32), given, chosen


def check(cases: tuple[Case, ...], sizes: Sizes, inputs: tuple[Array, Array, Array], coarse: float = 1e-5) -> None:
    session, (mixtures, _) = opened(cases, sizes), built(cases, sizes)
    names = [value.name for value in session.get_inputs()]
    results = iter(session.run(None, dict(zip(names, inputs, strict=True))))
    for mixture in mixtures.cases:
        assert isinstance(mixture, Mixture)
        seen, summed = mixture.wanted(*inputs)
        wanted = [("neurons", seen), ("outputs", summed)] + [("fused", summed)] * mixture.is_fused
        for name, values in wanted:
            error = np.abs(next(results) - values).max() / np.abs(values).max()
            rounds = name == "fused" and mixture.case.scheme is not None and in_graphs(mixture.case.scheme).bits == 8
            assert error <= (coarse if rounds else 1e-5), f"{name} of {mixture.case} differ by {error:.1e}"


DENSE = tuple(Case(expert, biased) for expert in EXPERTS for biased in (False, True))
ALL_SIZES = (Sizes(6, 2, 20, 12), Sizes(3, 3, 20, 12), Sizes(5, 1, 20, 12))


SOME = (DENSE[1], DENSE[-3], DENSE[-1])


@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("sizes", ALL_SIZES, ids=str)
def test_experts_compute_their_definition(sizes: Sizes, tokens: int) -> None:
    check(DENSE if sizes == ALL_SIZES[0] else SOME, sizes, routed(sizes, tokens))


def test_experts_that_no_token_chose_change_nothing() -> None:
    sizes = ALL_SIZES[0]
    check(DENSE, sizes, routed(sizes, 17, only=4))
    check(DENSE, sizes, routed(sizes, 17, only=2))  # every token chooses the same experts
    x, given, chosen = routed(sizes, 17, only=2)
    last = sizes.experts - 2
    check(DENSE, sizes, (x, np.roll(given, last, axis=1), chosen + last))


QUANTIZED = tuple(Case(SWIGLU, True, scheme) for scheme in SCHEMES)
QUANTIZED += tuple(Case(expert, False, SCHEMES[1]) for expert in (SWIGLU, EXPERTS[-1], Expert(Activation.RELU, False)))


def _fits(case: Case, sizes: Sizes) -> bool:
    """Whether rows are whole groups where they must be."""
    scheme = case.scheme
    assert scheme is not None
    needed = scheme.ordered or scheme.zero is Zero.OFFSET
    return not needed or (sizes.width % scheme.group == 0 and sizes.neurons % scheme.group == 0)


@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("width", [64, 192, 40], ids=["whole groups", "odd groups", "padded rows"])
def test_quantized_experts_compute_with_the_dequantized_matrices(width: int, tokens: int) -> None:
    sizes = Sizes(5, 2, width, 64 if width != 40 else 24)
    cases = tuple(case for case in QUANTIZED if _fits(case, sizes))
    check(cases, sizes, routed(sizes, tokens), coarse=5e-2)


def test_a_chosen_expert_may_have_the_weight_0() -> None:
    for cases, sizes in ((DENSE, ALL_SIZES[0]), (QUANTIZED, Sizes(5, 2, 64, 64))):
        x, given, chosen = routed(sizes, 17)
        np.put_along_axis(given, chosen[:, :1], 0, 1)
        check(cases, sizes, (x, given, chosen), coarse=5e-2)


def test_what_the_fused_operators_do_not_compute_is_known() -> None:
    not_fused = {(str(expert.activation), expert.gated) for expert in EXPERTS if not fuses(expert)}
    assert not_fused == {("relu2", False), ("relu2", True), ("gelu", False), ("gelu", True), ("gelu_tanh", True)}
    assert not fuses_quantized(SWIGLU, SCHEMES[0], 64, 40), "rows are not whole groups"
    for scheme in (Scheme(4, 32, Zero.OFFSET), Scheme(4, 32, Zero.MIDDLE, ordered=True)):
        assert not fuses_quantized(SWIGLU, scheme, 64, 64)
    with pytest.raises(ValueError, match="does not compute"):
        x, given, up, down = (torch.zeros(shape) for shape in ((3, 4), (3, 2), (2, 5, 4), (2, 4, 5)))
        fused(x, given, up, None, down, None, expert=Expert(Activation.RELU2, False), top_k=1)


def test_a_gated_relu_in_the_fused_operator_is_zero_for_negative_gates() -> None:
    case = (Case(Expert(Activation.RELU, True), biased=False),)
    sizes = Sizes(1, 1, 8, 8)
    mixture = built(case, sizes)[0].cases[0]
    assert isinstance(mixture, Mixture)
    inputs = routed(sizes, 1)
    gates = np.einsum("rc,tc->tr", mixture.dense[0][0], inputs[0])[0, 0::2]
    assert (gates < 0).any() and (gates > 0).any()
    check(case, sizes, inputs)


def test_nodes_inside_loops_are_named_so(tmp_path: Path) -> None:
    sizes, options = ALL_SIZES[0], ort.SessionOptions()
    model = built(DENSE, sizes)[1]
    options.enable_profiling, options.profile_file_prefix = True, str(tmp_path / "run")
    for number, node in enumerate(model.graph):
        node.name = f"layers.0.ffn.up|{node.op_type}|{number}"
    assert all(node.metadata_props for node in model.graph), "a node does not know its scope"
    raw = ir.to_proto(model).SerializeToString()
    session = ort.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    session.run(None, dict(zip(names, routed(sizes, 3), strict=True)))
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf8"))
    timed = [event["name"] for event in events if event["cat"] == "Node" and event["name"].endswith("_kernel_time")]
    unnamed = [name for name in timed if not is_inside(name) and "layers.0.ffn.up|" not in name]
    assert not unnamed and any(is_inside(name) for name in timed)
    assert not any(is_inside(name) and "layers." in name for name in timed)


def test_the_portable_graph_of_dense_experts_needs_standard_operators_only() -> None:
    cases = tuple(case for case in DENSE if not fuses(case.expert))
    _, model = built(cases, ALL_SIZES[0])
    assert set(model.opset_imports) == {""} and not model.functions
    inside = [node for graph in model.graphs() if graph is not model.graph for node in graph]
    assert inside and all(node.domain == "" for node in inside)
