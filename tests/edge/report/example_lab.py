"""Labs made up for pages: every kind of number and of picture, and any text."""

from collections.abc import Sequence

import numpy as np

from edge.lab.claim import Curve, Finding, Grid, Number, Series
from edge.lab.effect import Effect
from edge.lab.run import ClaimResult, LabRecord

NAN = float("nan")


def made_effect(value: float = 0.34, half: float = 0.14, threshold: float = 0.1, word: str = "") -> Effect:
    """An effect with its interval; as it stands it is above its threshold."""
    return Effect(
        key="lead_share",
        label=f"the lead{word}",
        value=value,
        low=value - half,
        high=value + half,
        unit="share",
        threshold=threshold,
        threshold_reason=f"a tenth{word}",
        sample=12,
        sample_unit=f"facts{word}",
    )


def made_finding(layers: int = 3, heads: int = 4, word: str = "") -> Finding:
    """Numbers of every unit, two lines with a gap, and a cell for each head, one of them without a number."""
    rng = np.random.default_rng(layers * heads)
    values = rng.random((layers, heads))
    values[-1, -1] = NAN
    lines = tuple(Series(f"line {line}{word}", (NAN, *rng.random(layers - 1).tolist())) for line in range(2))
    return Finding(
        f"Found a thing.{word}",
        effects=(made_effect(word=word),),
        numbers=(
            Number("kept_share", f"kept{word}", 0.4207, "share", 1.0),
            Number("shift_bits", "moved", 0.4258, "bits", 0.125),
            Number("cost_nats", "cost", -0.5, "nats", 0.0),
            Number("reach_tokens", "reach", 35.51, "tokens", 63.63),
            Number("pass_ms", "a pass", 12.34, "ms"),
            Number("held_bytes", "held", 1.5e9, "bytes", 2e6),
            Number("rank_count", "dimensions", 193.0, "count", 148.0),
            Number("wide_ratio", "width", NAN, "ratio", 1.0),
        ),
        curves=(Curve(f"by layer{word}", "layer", tuple(map(str, range(layers))), f"bits{word}", lines),),
        grids=(Grid(f"by head{word}", "layer", "head", "share", tuple(map(tuple, values.tolist()))),),
    )


def made_result(key: str, finding: Finding, word: str = "") -> ClaimResult:
    return ClaimResult(
        key=f"{key}{word}",
        title=f"claim {key}{word}",
        question=f"asks {key}?{word}",
        method=f"how {key}: `a formula`{word}",
        rule=f"rule {key}{word}",
        source=f"source {key}{word}",
        cost_tokens=1_234,
        took_s=2.5,
        finding=finding,
    )


def made_lab(model: str = "fake", findings: Sequence[Finding] | None = None, word: str = "") -> LabRecord:
    """A claim for each finding; `word` is in every text."""
    keys = [f"{side}{place}" for side in "FAS" for place in range(1, 7)]
    found = [made_finding(word=word)] if findings is None else findings
    return LabRecord(
        model=model,
        engine=f"onnx{word}",
        versions={"edge": f"0{word}"},
        source=f"built in{word}",
        passage_tokens=2_048,
        results=tuple(made_result(key, finding, word) for key, finding in zip(keys, found, strict=False)),
    )
