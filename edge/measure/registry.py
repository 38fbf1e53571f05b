"""The measures of FFN activation sparsity. Screens, help, reports and commands show every one that is listed here."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from edge.measure.sparsity import exact_zero_share, gini, hoyer, top_p_sparsity
from edge.picture.units import show_number, show_share


@dataclass(frozen=True)
class Unit:
    """What the numbers of a measure count.

    Attributes:
        title: For legends.
        show: Writes a value for people.
    """

    title: str
    show: Callable[[float], str]


SHARE = Unit("share of neurons", show_share)
INDEX = Unit("index, no unit", show_number)


@dataclass(frozen=True)
class Measure:
    """One measure of how sparse the activations of an FFN are: one number from 0 to 1 per token, 1 the sparsest.

    Measures differ and their values do not compare with each other: show the title beside every value.

    Attributes:
        key: Name for scripts: columns of tables, keys of JSON.
        title: Name for people.
        unit: `SHARE` of neurons, or `INDEX`.
        meanings: What the measure counts, from the longest text to the shortest; screens take the first that fits.
        formula: Formula, for help and reports.
        source: Where the formula is from.
        of: Activations that enter the down projection to one value per token.
    """

    key: str
    title: str
    unit: Unit
    meanings: tuple[str, ...]
    formula: str
    source: str
    of: Callable[[Float[np.ndarray, "*token neuron"]], Float32[np.ndarray, "*token"]]

    @property
    def definition(self) -> str:
        """Title, formula and source in one sentence."""
        return f"{self.title}: {self.formula} ({self.source})."


EXACT_ZERO = Measure(
    key="exact_zero_share",
    title="exact zeros",
    unit=SHARE,
    meanings=("share of neurons that are exactly 0", "share that is 0", "zeros"),
    formula="mean(a = 0), a share of neurons; GELU and SiLU have almost none",
    source="Li et al. 2022",
    of=exact_zero_share,
)
TOP_P = Measure(
    key="top_p_sparsity",
    title="top-p 0.9",
    unit=SHARE,
    meanings=(
        "share of neurons that can be dropped with 90% of Σ|a| kept",
        "droppable, 90% of Σ|a| kept",
        "90% of Σ|a| kept",
    ),
    formula="1 - k/n, k the fewest neurons that hold 90% of Σ|a|, a share of neurons",
    source="Szatkowski et al. 2025",
    of=top_p_sparsity,
)
HOYER = Measure(
    key="hoyer",
    title="Hoyer",
    unit=INDEX,
    meanings=("0: all equal, 1: one neuron is active (from L1 and L2 norms)", "0 equal, 1 one active", "1: one active"),
    formula="(√n - ‖a‖₁/‖a‖₂) / (√n - 1), 0 to 1",
    source="Hoyer 2004",
    of=hoyer,
)
GINI = Measure(
    key="gini",
    title="Gini",
    unit=INDEX,
    meanings=("0: all equal, near 1: few hold all", "0 equal, 1 unequal", "unequal"),
    formula="1 - 2 Σ (c/‖a‖₁)·(n - k + ½)/n, c is |a| in rising order, 0 to 1",
    source="Hurley & Rickard 2009",
    of=gini,
)

MEASURES = (EXACT_ZERO, TOP_P, HOYER, GINI)
"""In the order in which they are shown."""

SHARE_MEASURES = tuple(measure for measure in MEASURES if measure.unit is SHARE)
"""Measures that say which share of the neurons an FFN need not compute."""
