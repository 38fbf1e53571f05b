"""The torch decoder as ONNX graphs: `fast` runs, `probe` records sites, `edit` changes sites, `std` is for other tools.

    fast    ids (token,), total (1,), past                     -> logits (1, vocab), present
    probe   the same, rows (row,)                              -> logits (row, vocab), present, every place of a site
    edit    the same, changes                                  -> the same
    std     input_ids, attention_mask, position_ids, past      -> logits (batch, token, vocab), present
    genai   the same, past and present one buffer

Parameters are traced as fake tensors without data; in the graph they are external initializers by name.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any
from warnings import catch_warnings, simplefilter

import onnx_ir as ir
import torch
from onnxscript.optimizer import optimize_ir
from torch._subclasses.fake_tensor import FakeTensorMode

from export.batched_kernels import Served
from export.expert_loops import expand_experts
from export.finish import finish
from export.fused_projections import fuse_projections, make_external
from export.graph_sites import edit_inputs, expose_sites, make_sites_editable, unique_sites
from export.initializers import initializer_shapes, rotaries, table_names
from export.kernels import kernels_of
from export.layout import DENSE, Layout
from export.names import Dims
from export.products import expand_products
from export.quantized import replace_quantized
from export.torch_operators import build_operators_once
from export.wrappers import Ecosystem, Fast, ForGenai, Watched, Wrapper
from models.parts import TimedParts
from models.sites import LOGITS, sites_of
from models.spec import DecoderSpec
from models.states import states_of
from models.sublayers.states import Growing, fixed_shape


@dataclass(frozen=True)
class Held:
    """The axes of states that grow: batch, and tokens before and after a pass."""

    batch: str | int
    before: str
    after: str

    def inputs(self, spec: DecoderSpec) -> dict[str, Dims]:
        """Names and dimensions of all states before the pass."""
        return state_dims("past_key_values", spec, self.batch, self.before)

    def outputs(self, spec: DecoderSpec) -> dict[str, Dims]:
        """The same after the pass."""
        return state_dims("present", spec, self.batch, self.after)


@dataclass(frozen=True)
class Plan:
    """How one graph is traced.

    Attributes:
        inputs: Inputs before the cache: name, type, dimensions. A named dimension is dynamic.
        growing: The axis of tokens in states that grow, before and after the pass, and whether they have a batch axis.
        logits: Dimensions of the logits.
        opset: The opset that its kernels need.
        watched: Whether the places of sites are outputs.
        changed: Whether there are edit inputs for each site.
    """

    wrapper: Callable[[DecoderSpec], Wrapper]
    inputs: tuple[tuple[str, torch.dtype, Dims], ...]
    growing: Held
    logits: Dims
    opset: int
    watched: bool = False
    changed: bool = False


def plans(spec: DecoderSpec) -> dict[str, Plan]:
    """The plan of each graph of one decoder, by the graph's name."""
    held, concatenated = Held(1, "capacity", "capacity"), Held("batch", "past", "past + token")
    ids, total = ("ids", torch.int64, ("token",)), ("total", torch.int32, (1,))
    rows = ("rows", torch.int64, ("row",))
    batched = tuple(
        (name, torch.int64, ("batch", dim))
        for name, dim in (("input_ids", "token"), ("attention_mask", "past + token"), ("position_ids", "token"))
    )
    watched = ((ids, total, rows), held, ("row", spec.vocab_size))
    kernels, logits = kernels_of(spec), ("batch", "token", spec.vocab_size)
    served = Held("batch", "capacity", "capacity") if kernels["genai"] is Served else concatenated
    return {
        "fast": Plan(Fast, (ids, total), held, (1, spec.vocab_size), kernels["fast"].opset),
        "probe": Plan(Watched, *watched, kernels["probe"].opset, watched=True),
        "edit": Plan(Watched, *watched, kernels["edit"].opset, watched=True, changed=True),
        "std": Plan(Ecosystem, batched, concatenated, logits, kernels["std"].opset),
        "genai": Plan(ForGenai, batched, served, logits, kernels["genai"].opset),
    }


def state_dims(prefix: str, spec: DecoderSpec, batch: str | int, tokens: str) -> dict[str, Dims]:
    """Names and dimensions of all states; `tokens` is the axis of those that grow.

    The names are those that other tools expect: `present.0.key`, `present.0.value`, `present.1.key` ...
    """
    return {
        f"{prefix}.{name}": (batch, state.heads, tokens, state.features)
        if isinstance(state, Growing)
        else fixed_shape(state)
        for name, state in states_of(spec).items()
    }


def build(spec: DecoderSpec, name: str, layout: Layout = DENSE) -> ir.Model:
    """One finished graph without weights: external initializers, nodes named by scope, outputs with dimensions."""
    return next(builds(spec, (name,), layout))


def builds(spec: DecoderSpec, names: Sequence[str], layout: Layout = DENSE) -> Iterator[ir.Model]:
    """Several graphs in this order. Consecutive graphs with the same wrapper are traced once."""
    known = plans(spec)
    for _, group in groupby((known[name] for name in names), lambda plan: plan.wrapper):
        same_trace = list(group)
        traced = _traced(spec, same_trace[0], layout)
        for plan in same_trace:
            yield _finished(spec, plan, traced.clone())


def _traced(spec: DecoderSpec, plan: Plan, layout: Layout) -> ir.Model:
    model = _trace(spec, plan, layout)
    _release_initializers(model, _initializer_names(spec, layout))
    fuse_projections(model, spec, layout)
    return model


def _finished(spec: DecoderSpec, plan: Plan, model: ir.Model) -> ir.Model:
    inputs = {name: dims for name, _, dims in plan.inputs}
    inputs |= plan.growing.inputs(spec)
    outputs = {LOGITS: plan.logits} | plan.growing.outputs(spec)
    if plan.watched:
        outputs |= {name: ("token", *sites_of(spec)[name].row_shape) for name in unique_sites(spec)}
    if plan.changed:
        make_sites_editable(model, spec)
        inputs |= edit_inputs(spec)
    else:
        expose_sites(model)
    expand_products(model)
    expand_experts(model)
    finish(model, TimedParts(spec), plan.opset, inputs, outputs)
    return model


_EXAMPLE = {"token": 3, "past": 5, "past + token": 8, "capacity": 11, "batch": 2, "row": 4}
"""Example sizes for tracing. They differ, since the exporter merges equal sizes and treats 0 and 1 as constants."""


def _trace(spec: DecoderSpec, plan: Plan, layout: Layout) -> ir.Model:
    states, kind = plan.growing.inputs(spec), getattr(torch, layout.float_type)
    with FakeTensorMode():
        with _default_dtype(kind):
            wrapper = plan.wrapper(spec).eval()
        replace_quantized(wrapper.decoder, layout)
        arguments: list[Any] = [torch.zeros(_sizes(dims), dtype=dtype) for _, dtype, dims in plan.inputs]
        arguments.append(_by_layer(spec, [torch.zeros(_sizes(dims), dtype=kind) for dims in states.values()]))
    varying: list[Any] = [_varying(dims) for _, _, dims in plan.inputs]
    varying.append(_by_layer(spec, [_varying(dims) for dims in states.values()]))
    names = [name for name, _, _ in plan.inputs] + list(states)
    build_operators_once()
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            wrapper,
            tuple(arguments),
            dynamo=True,
            opset_version=plan.opset,
            dynamic_shapes=tuple(varying),
            input_names=names,
            optimize=False,
            verbose=False,
        )
    assert program is not None
    return program.model


@contextmanager
def _default_dtype(kind: torch.dtype) -> Iterator[None]:
    """Sets the default dtype inside the block, since fake tensors cannot be converted later."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(kind)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses the exporter's warnings about deprecations and missing packages. Errors are still raised."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with catch_warnings():
            simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _by_layer(spec: DecoderSpec, states: list[Any]) -> list[tuple[Any, ...]]:
    """All states in order, as one tuple per layer."""
    rest = iter(states)
    return [tuple(islice(rest, len(layer.mixer.states()))) for layer in spec.layers]


def _sizes(dims: Dims) -> tuple[int, ...]:
    return tuple(_EXAMPLE[dim] if isinstance(dim, str) else dim for dim in dims)


def _varying(dims: Dims) -> dict[int, Any]:
    return {axis: torch.export.Dim.DYNAMIC for axis, dim in enumerate(dims) if isinstance(dim, str)}


def _initializer_names(spec: DecoderSpec, layout: Layout) -> dict[str, str]:
    """Edge's names of initializers by those of the exporter (module paths of the wrapper)."""
    tables = {
        f"{part}{index}": name
        for index, kind in enumerate(rotaries(spec))
        for part, name in zip(("cos", "sin"), table_names(kind), strict=True)
    }
    return tables | {f"decoder.{name}": name for name in initializer_shapes(spec, layout)}


def _release_initializers(model: ir.Model, names: dict[str, str]) -> None:
    """Optimizes the graph with weights as inputs, since they have no values to fold, then makes them external."""
    graph = model.graph
    weights = [value for value in graph.initializers.values() if value.name in names]
    for value in weights:
        del graph.initializers[str(value.name)]
        value.const_value = None
        graph.inputs.append(value)
    optimize_ir(model)
    for value in weights:
        graph.inputs.remove(value)
        value.name = names[str(value.name)]
        make_external(value)
        graph.initializers.add(value)
