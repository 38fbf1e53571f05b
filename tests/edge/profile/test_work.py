"""Bytes and operations of every part follow from the spec."""

from math import prod

import pytest

from edge.profile.weight_memory import weight_bytes, weights_memory_bytes
from edge.profile.work import work_of
from edge.timing import Grain
from export.initializers import initializer_values
from export.layout import layout_of
from models.parameters import parameter_shapes
from models.precision import precision_of
from models.spec import DecoderSpec, MoE, Sliding
from tests.mixed import mixed_checkpoint
from tests.scopes import scopes_of
from tests.tiny import TINY_SPECS, tiny_checkpoint

MATRICES = ("query", "key", "value", "out", "gate", "up", "gate_up", "down", "project", "router", "shared_gate")


def stored(name: str, shape: tuple[int, ...]) -> float:
    return 4.0 * prod(shape)


def chosen_share(spec: DecoderSpec, name: str) -> float:
    """The share of a parameter's numbers that one token meets: the chosen ones of all experts."""
    layer = spec.layers[int(name.split(".")[1])] if name.startswith("layers.") else None
    if layer is None or not isinstance(layer.ffn, MoE) or ".experts." not in name:
        return 1.0
    return layer.ffn.top_k / layer.ffn.n_experts


def products(spec: DecoderSpec, tokens: int) -> float:
    """Two operations for every number of a matrix and every vector it is applied to; the head reads one vector."""
    shapes = parameter_shapes(spec)
    inside = sum(
        prod(shape) * chosen_share(spec, name)
        for name, shape in shapes.items()
        if name.split(".")[-2] in MATRICES and len(shape) > 1 and name.endswith(".weight")
    )
    outside = [
        prod(shapes[f"{name}.project.weight"]) for name in ("embed", "head") if f"{name}.project.weight" in shapes
    ]
    head = spec.vocab_size * spec.token_width + sum(outside[1:])
    return 2.0 * (tokens * (inside - sum(outside[1:])) + head)


@pytest.mark.parametrize("tokens", [1, 7])
@pytest.mark.parametrize("name", TINY_SPECS)
def test_operations_are_two_for_every_weight_a_token_meets(name: str, tokens: int) -> None:
    spec = TINY_SPECS[name]
    work = work_of(spec, stored, 4, tokens, depth=3)
    cores = sum(work[f"layers.{layer}.attn.core"].flops for layer in range(spec.n_layers))
    assert sum(part.flops for part in work.values()) - cores == pytest.approx(products(spec, tokens))


@pytest.mark.parametrize("name", TINY_SPECS)
def test_a_decode_step_reads_every_weight_once(name: str) -> None:
    """All but the embedding, of which it reads one row; a tied head reads it whole."""
    spec = TINY_SPECS[name]
    touched = {part: work.touched_bytes for part, work in work_of(spec, stored, 0, 1, depth=0).items()}
    left = {"embed.weight", "embed.positions"}
    weights = sum(
        stored(name, shape) * chosen_share(spec, name)
        for name, shape in parameter_shapes(spec).items()
        if name not in left
    )
    row = stored("embed.weight", (1, spec.token_width))
    whole = stored("embed.weight", (spec.vocab_size, spec.token_width)) if spec.tied else 0.0
    sums = sum(stored(n, s) for n, s in parameter_shapes(spec).items() if "_sum." in n)
    assert sum(touched.values()) == pytest.approx(weights - sums + row + whole)


@pytest.mark.parametrize("name", TINY_SPECS)
def test_parts_with_work_are_those_that_engines_time(name: str) -> None:
    spec = TINY_SPECS[name]
    assert set(work_of(spec, stored, 4, 1, 0)) <= scopes_of(spec, Grain.PART)


def test_a_deeper_cache_costs_attention_alone() -> None:
    spec = TINY_SPECS["llama-shared-heads-tied"]
    near, far = (work_of(spec, stored, 4, 1, depth) for depth in (10, 20))
    for part in near:
        core = part.endswith(".core")
        more = far[part].touched_bytes - near[part].touched_bytes
        wanted = 10 * 2 * spec.layers[0].attention.key_width * 4 if core else 0
        assert more == wanted, f"{part} touches {more} bytes more, not {wanted}"
        assert (far[part].flops > near[part].flops) is core


def test_a_window_bounds_what_a_token_reads() -> None:
    kinds = (attention for spec in TINY_SPECS.values() for attention in spec.attentions)
    sliding = next(attention for attention in kinds if isinstance(attention.window, Sliding))
    assert isinstance(sliding.window, Sliding)
    assert sliding.pairs(1, 1_000) == sliding.window.tokens
    assert sliding.pairs(3, 0) == sum(min(end, sliding.window.tokens) for end in (1, 2, 3))


def test_quantized_weights_are_smaller_where_they_stay_quantized() -> None:
    checkpoint = tiny_checkpoint("llama-shared-heads-tied")
    sizes = {
        engine: weights_memory_bytes(checkpoint.spec, weight_bytes(engine, checkpoint))
        for engine in ("torch", "torch:int4", "torch:bf16", "onnx:int4", "onnx:int8", "mlx:int4")
    }
    assert sizes["torch:int4"] == sizes["torch"] == 2 * sizes["torch:bf16"], "torch dequantizes to float32"
    assert sizes["onnx:int4"] < sizes["onnx:int8"] < sizes["torch"]
    assert sizes["onnx:int4"] < sizes["mlx:int4"], "an offset in float32 takes more than a code"


def test_the_bytes_of_quantized_weights_are_those_that_engines_hold() -> None:
    checkpoint = mixed_checkpoint()
    for precision in ("mixed", "mixed-acc0"):
        values = dict(initializer_values(checkpoint, layout_of(checkpoint, precision_of(precision))))
        tied = ("head.codes", "head.scales", "head.zeros", "head.offsets")  # those of the embedding
        counted = [value for name, value in values.items() if not name.startswith("rotary.") and name not in tied]
        held = sum(value.nbytes for value in counted)
        assert weights_memory_bytes(checkpoint.spec, weight_bytes(f"onnx:{precision}", checkpoint)) == held
    rows, columns = checkpoint.weights["embed.weight"].shape
    filled = rows * (2 * columns * 6 // 8 + columns // 16 * 8)
    held = weight_bytes("mlx:mixed", checkpoint)("embed.weight", (rows, columns))
    assert held == filled, "MLX has no groups of 16; they are filled up to 32"
