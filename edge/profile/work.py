"""Bytes and operations of each part of a pass, computed from the spec, for comparison with measured times.

Bytes are read or written at least once: weights in the engine's format, keys and values, and input and output vectors.
Operations are multiplications and additions of matrix products. Norms, activations and positions are left out; they
are below 1% at d_model 64 and above.
"""

from collections.abc import Callable, Mapping

from models.parameters import parameters_of, uses_of
from models.parts import TimedParts
from models.spec import DecoderSpec
from models.sublayers.sublayer import Use
from models.sublayers.work import NOTHING, Work

WeightBytes = Callable[[str, tuple[int, ...]], float]
"""Bytes of a weight in an engine's format, by name and shape."""

Parts = dict[str, Work]


def work_of(
    spec: DecoderSpec, stored_bytes: WeightBytes, float_bytes: int, tokens: int, depth: int
) -> Mapping[str, Work]:
    """Work of each part in a pass over `tokens` tokens at `depth`; the head computes only the last token.

    Args:
        stored_bytes: Bytes of each weight in the engine's format.
        float_bytes: Bytes of one activation, key or value.
    """
    parts: Parts = {}

    def add(part: str, work: Work) -> None:
        parts[part] = parts.get(part, NOTHING) + work

    timed, uses = TimedParts(spec), uses_of(spec, tokens)
    for name, parameter in parameters_of(spec).items():
        part = timed.of_module(name.rpartition(".")[0])
        if part is None or name in ("embed.weight", "embed.positions"):
            continue
        use = Use(1.0, 1) if part == "head" else uses[name]
        weight_bytes = use.share * stored_bytes(name, parameter.shape)
        is_matrix = len(parameter.shape) > 1 and name.endswith(".weight")
        add(
            part,
            _product(parameter.shape, weight_bytes, use.rows, float_bytes) if is_matrix else Work(weight_bytes, 0.0),
        )
    row_bytes = stored_bytes("embed.weight", (1, spec.token_width)) + spec.d_model * float_bytes
    add("embed", Work(tokens * row_bytes, 0.0))
    if spec.tied:
        shape = (spec.vocab_size, spec.token_width)
        add("head", _product(shape, stored_bytes("embed.weight", shape), 1, float_bytes))
    for scope, sublayer in spec.sublayers():
        add(timed.rests[scope], sublayer.work(float_bytes, tokens, depth))
    ordered = ("embed", *timed.ordered, "head")
    return {part: parts[part] for part in ordered if part in parts}


def _product(shape: tuple[int, ...], weight_bytes: float, rows: int, float_bytes: int) -> Work:
    """A matrix, or matrices of a stack, applied to `rows` rows of activations."""
    outputs, inputs = (1, *shape)[-2:]
    return Work(weight_bytes + rows * (outputs + inputs) * float_bytes, 2.0 * rows * outputs * inputs)
