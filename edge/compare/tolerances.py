"""How far two variants may be apart at a site before it is named: what their precisions alone explain."""

from edge.engines.choice import EngineChoice
from models.precision import Float, Grouped, Scheme

TOLERANCES = {"fp32": 5e-5, "fp16": 1e-2, "bf16": 4e-2, "int8": 5e-2, "int4": 3e-1}
"""Largest relative error of a site, by the coarser of the two precisions.

Of float32, what engines owe each other (law 5); of float16, a few hundred of its roundings. bfloat16 rounds eight times
as coarsely. Of quantized matrices no rule says how close they must be: these are about three times what the zoo shows.
"""


def tolerance_of(reference: EngineChoice, variant: EngineChoice) -> float:
    """The tolerance for two engines: of quantized weights only where not both have the same ones."""
    kinds = {_arithmetic(choice) for choice in (reference, variant)}
    if not have_equal_weights(reference, variant):
        schemes = {_scheme(choice) for choice in (reference, variant)}
        kinds |= {f"int{scheme.bits}" for scheme in schemes if scheme is not None}
    return max(TOLERANCES[kind] for kind in kinds)


def have_equal_weights(reference: EngineChoice, variant: EngineChoice) -> bool:
    """Whether two engines read the same weights of one model: quantized in the same way, or not at all."""
    return _scheme(reference) == _scheme(variant)


def own_tolerance(choice: EngineChoice) -> float:
    """The tolerance within one engine, whose weights are the same on both sides of what is compared."""
    return TOLERANCES[_arithmetic(choice)]


def _arithmetic(choice: EngineChoice) -> str:
    """What activations are rounded to."""
    match choice.precision:
        case Float(kind):
            return kind
        case Grouped(accuracy=accuracy):
            return "int8" if choice.name == "onnx" and accuracy == 4 else "fp32"


def _scheme(choice: EngineChoice) -> Scheme | None:
    return choice.precision.scheme if isinstance(choice.precision, Grouped) else None
