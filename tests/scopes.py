"""The scopes that a timing of a decoder distinguishes."""

from edge.timing import Grain
from models.parts import TimedParts, sublayer_of
from models.spec import DecoderSpec


def scopes_of(spec: DecoderSpec, grain: Grain) -> set[str]:
    """Every scope but `other`."""
    parts = set(TimedParts(spec).ordered)
    return {"embed", "head"} | (parts if grain is Grain.PART else {sublayer_of(part) for part in parts})
