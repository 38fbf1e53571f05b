"""Tolerances for relative errors of sites: the rounding errors expected from two precisions."""

from dataclasses import replace

from edge.engines.choice import EngineChoice
from models.precision import Float, Grouped, Mixed

TOLERANCES = {"fp32": 5e-5, "fp16": 1e-2, "bf16": 4e-2, "int8": 5e-2, "int4": 3e-1}
"""Largest relative error of a site, by the coarser of the two precisions.

The float32 tolerance is that of law 5. The float16 tolerance is a few hundred rounding steps; bfloat16 rounds eight
times as coarsely. No rule gives tolerances for quantized matrices: these are about three times the zoo's errors.
"""


def tolerance_of(reference: EngineChoice, variant: EngineChoice) -> float:
    """The tolerance for two engines; quantization counts only if their weights differ."""
    kinds = {_arithmetic(choice) for choice in (reference, variant)}
    if not have_equal_weights(reference, variant):
        kinds |= _rounded_weights(reference) | _rounded_weights(variant)
    return max(TOLERANCES[kind] for kind in kinds)


def have_equal_weights(reference: EngineChoice, variant: EngineChoice) -> bool:
    """Whether two engines use the same weights of one model: quantized in the same way, or not quantized."""
    return _weights(reference) == _weights(variant)


def own_tolerance(choice: EngineChoice) -> float:
    """The tolerance within one engine, where both sides have the same weights."""
    return TOLERANCES[_arithmetic(choice)]


def _arithmetic(choice: EngineChoice) -> str:
    """The precision of activations."""
    match choice.precision:
        case Float(kind):
            return kind
        case Grouped(accuracy=accuracy) | Mixed(accuracy=accuracy):
            return "int8" if choice.name == "onnx" and accuracy == 4 else "fp32"


def _weights(choice: EngineChoice) -> str:
    """How weights are quantized, as users write it; empty if they are not."""
    return "" if isinstance(choice.precision, Float) else str(replace(choice.precision, accuracy=4))


def _rounded_weights(choice: EngineChoice) -> set[str]:
    """The tolerance of its weights: none without quantization; that of 4 bits also for fewer bits and for some more."""
    match choice.precision:
        case Float():
            return set()
        case Grouped(scheme) if scheme.bits == 8:
            return {"int8"}
    return {"int4"}
