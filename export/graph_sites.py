"""Sites in graphs: outputs, and for edits two optional inputs per site, `value * scale + shift`.

A site is traced as a custom operator, the mark. In `probe` the marked value replaces it. In `edit` two operators
replace it, with neutral default inputs. A place with two names is marked and output once.
"""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from torch import Tensor
from torch.onnx import ops

from export.edit_rows import rows_of_edit
from export.names import DOMAIN, NEUTRAL, Dims, change_name
from models.sites import LOGITS, place_of, sites_of
from models.spec import DecoderSpec

_MARK = "Site"


def mark_site(value: Tensor, rows: Tensor | None = None) -> Tensor:
    """Marks a site while tracing. `rows` are the rows of an edit for each token, as in `models.kernels.Probe`."""
    inputs = [value] if rows is None else [value, rows]
    return ops.symbolic(f"{DOMAIN}::{_MARK}", inputs, dtype=value.dtype, shape=value.shape, version=1)


def unique_sites(spec: DecoderSpec) -> list[str]:
    """Every site except the logits and second names of a place, in order of computation."""
    return [site for site in sites_of(spec) if site != LOGITS and place_of(site) == site]


def edit_inputs(spec: DecoderSpec) -> dict[str, Dims]:
    """Names and dimensions of the edit inputs. Each axis has full size or 1."""
    return {
        change_name(name, part): tuple(f"{name}.{part}.{axis}" for axis in sites_of(spec)[name].changed_axes)
        for name in unique_sites(spec)
        for part in NEUTRAL
    }


def expose_sites(model: ir.Model) -> None:
    """Replaces every mark with its value."""
    for node in _marks(model):
        _replace(model.graph, node, {})


def make_sites_editable(model: ir.Model, spec: DecoderSpec) -> None:
    """Replaces every mark with the operators of an edit, and adds their operands as inputs."""
    for name, node in zip(unique_sites(spec), _marks(model), strict=True):
        axes = len(sites_of(spec)[name].changed_axes)
        operands = [_optional_input(change_name(name, part), neutral, axes) for part, neutral in NEUTRAL.items()]
        for operand in operands:
            model.graph.inputs.append(operand)
            model.graph.initializers.add(operand)
        if len(node.inputs) == 2:
            operands = [rows_of_edit(model.graph, node, operand) for operand in operands]
        _replace(model.graph, node, {"Mul": operands[:1], "Add": operands[1:]})


def _marks(model: ir.Model) -> list[ir.Node]:
    """All marks, in the order of the sites. Removes their domain from the model's imports."""
    for imports in (model.opset_imports, model.graph.opset_imports):
        imports.pop(DOMAIN, None)
    return [node for node in model.graph if node.domain == DOMAIN and node.op_type == _MARK]


def _optional_input(name: str, neutral: float, axes: int) -> ir.Value:
    """An input with a default value."""
    tensor = ir.tensor(np.full((1,) * axes, neutral, np.float32), name=name)
    return ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), const_value=tensor)


def _replace(graph: ir.Graph, node: ir.Node, operators: Mapping[str, list[ir.Value]]) -> None:
    """Replaces a mark with a chain of operators, which keep its metadata of the scope in the decoder."""
    value, marked = node.inputs[0], node.outputs[0]
    for operator, operands in operators.items():
        new = ir.node(operator, [value, *operands], metadata_props=node.metadata_props)
        new.outputs[0].type = marked.type
        graph.insert_before(node, new)
        value = new.outputs[0]
    assert value is not None
    ir.convenience.replace_all_uses_with(marked, value, replace_graph_outputs=True)
    graph.remove(node, safe=True)
