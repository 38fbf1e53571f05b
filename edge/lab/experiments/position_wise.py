"""F2: the effect of one token on other tokens, through the FFN and through attention."""

from dataclasses import astuple, dataclass

import numpy as np
from jaxtyping import Float32, Float64

from edge.attention_pattern import visible_keys
from edge.change import Edit
from edge.edits import Ablate, Replace
from edge.lab.claim import Experiment, Finding, Number, layer_curve
from edge.lab.context import LabContext
from edge.lab.effect import Effect, Side, effect_of
from edge.lab.prompts import SEED
from edge.lab.sample import mean_interval
from edge.picture.units import show_share
from edge.trace import Trace
from edge.watch import Watch
from models.sites import ATTENTION_OUTPUT, FFN_OUTPUT, layer_site

TOKENS = 64
"""Length of the sequence; most tokens come after the changed token."""

SAMPLES = 4
"""Random samples of the noise, the changed token and the permutation of rows."""

ROUNDING = 1e-2
"""Relative error of half precision (law 5). In float32 it is below 1e-5; attention changes by far more."""

_WATCH = Watch(parts=("input", ATTENTION_OUTPUT, FFN_OUTPUT))

Rows = Float32[np.ndarray, "token model"]
Values = dict[str, Rows]
"""One value for each layer's site, by the site."""


@dataclass(frozen=True)
class Moved:
    """The response of one layer to a change of its input, relative to the sublayer's output."""

    ffn_elsewhere: float
    ffn_there: float
    attention_elsewhere: float
    ffn_permuted: float
    attention_permuted: float


def _largest(change: Float32[np.ndarray, "some model"], of: Rows) -> float:
    """`max |Δ| / max |y|`; 0 if the output is 0."""
    return float(np.abs(change).max(initial=0.0) / (np.abs(of).max(initial=0.0) or 1.0))


def _mean(change: Rows, of: Rows) -> float:
    """`mean |Δ| / mean |y|`; NaN for no rows."""
    if not len(of):
        return float("nan")
    return float(np.abs(change).mean(dtype=np.float64) / (np.abs(of).mean(dtype=np.float64) or 1.0))


def _ids(lab: LabContext) -> tuple[int, ...]:
    return lab.window_ids[0][:TOKENS]


@dataclass(frozen=True)
class Isolated:
    """Every layer in isolation: the input of each layer is replaced, so that one pass measures all layers.

    Attributes:
        clean: The trace without changes.
        ffn: The trace with all attention ablated, so that each FFN depends only on the layer's input.
    """

    lab: LabContext
    ids: tuple[int, ...]
    clean: Trace
    ffn: Trace

    @property
    def layers(self) -> range:
        return range(self.lab.spec.n_layers)

    def inputs(self) -> Values:
        return {layer_site(layer, "input"): self.clean.site(layer_site(layer, "input")) for layer in self.layers}


def _ablated(lab: LabContext) -> list[Edit]:
    return [Ablate(layer_site(layer, "attn")) for layer in range(lab.spec.n_layers)]


def _replaced(values: Values) -> list[Edit]:
    return [Replace(site, tuple(range(len(rows))), rows) for site, rows in values.items()]


def isolated(lab: LabContext, ids: tuple[int, ...]) -> Isolated:
    """The outputs of each layer for its clean input, with and without attention."""
    clean = lab.run(ids, (), _WATCH)
    inputs = {site: clean.site(site) for site in (layer_site(one, "input") for one in range(lab.spec.n_layers))}
    return Isolated(lab, ids, clean, lab.run(ids, [*_ablated(lab), *_replaced(inputs)], _WATCH))


def moved(alone: Isolated, number: int) -> list[Moved]:
    """Changes the input of every layer at one token, then the order of its rows, with and without attention."""
    lab, ids, ablations = alone.lab, alone.ids, _ablated(alone.lab)
    random = np.random.default_rng([SEED, number])
    changed = len(ids) // 4 + number * len(ids) // 16
    inputs, other = alone.inputs(), Values()
    for site, rows in inputs.items():
        row = rows[changed]
        other[site] = rows.copy()
        other[site][changed] += np.sqrt(np.mean(row**2)) * random.standard_normal(row.shape, np.float32)
    order = random.permutation(len(ids))
    shuffled = {site: rows[order] for site, rows in inputs.items()}
    noised, noised_ffn, permuted, permuted_ffn = (
        lab.run(ids, [*ablated, *_replaced(values)], _WATCH)
        for values in (other, shuffled)
        for ablated in ((), ablations)
    )
    elsewhere = np.arange(len(ids)) != changed
    found = []
    for layer, kind in enumerate(lab.spec.layers):
        wrote = layer_site(layer, FFN_OUTPUT)
        ffn, attention = alone.ffn.site(wrote), alone.clean.site(layer_site(layer, ATTENTION_OUTPUT))
        ffn_change = noised_ffn.site(wrote) - ffn
        attention_change = noised.site(layer_site(layer, ATTENTION_OUTPUT)) - attention
        reached = visible_keys(len(ids), len(ids), kind.attention.window)[:, changed] & elsewhere
        found.append(
            Moved(
                ffn_elsewhere=_largest(ffn_change[elsewhere], ffn),
                ffn_there=_mean(ffn_change[[changed]], ffn[[changed]]),
                attention_elsewhere=_mean(attention_change[reached], attention[reached]),
                ffn_permuted=_largest(permuted_ffn.site(wrote) - ffn[order], ffn),
                attention_permuted=_largest(
                    permuted.site(layer_site(layer, ATTENTION_OUTPUT)) - attention[order], attention
                ),
            )
        )
    return found


def effects(found: Float64[np.ndarray, "sample layer 5"]) -> tuple[Effect, ...]:
    """The largest and mean responses of FFNs over layers; a unit of the sample is one random sample."""
    rounding = "rounding error of half precision (law 5); attention changes by far more"
    kinds = (
        (
            "ffn_elsewhere",
            "relative change of the FFN's output at other tokens, maximum over layers",
            found[:, :, 0].max(axis=1),
        ),
        ("ffn_permuted", "error of the FFN on permuted rows, maximum over layers", found[:, :, 3].max(axis=1)),
        (
            "ffn_there",
            "relative change of the FFN's output at the changed token, mean over layers",
            found[:, :, 1].mean(axis=1),
        ),
    )
    return tuple(
        effect_of(
            mean_interval(values),
            key=key,
            label=label,
            unit="share",
            threshold=ROUNDING,
            side=Side.ABOVE if key == "ffn_there" else Side.BELOW,
            threshold_reason=rounding,
            sample_unit="random samples",
        )
        for key, label, values in kinds
    )


def _measure(lab: LabContext) -> Finding:
    alone = isolated(lab, _ids(lab))
    by_sample = np.array([[astuple(one) for one in moved(alone, number)] for number in range(SAMPLES)])
    by_layer = by_sample.mean(axis=0)
    elsewhere, ffn_permuted, attention_permuted = (
        float(worst) for worst in by_sample[:, :, [0, 3, 4]].max(axis=(0, 1))
    )
    there = float(by_layer[:, 1].mean())
    reached = by_layer[~np.isnan(by_layer[:, 2]), 2]
    attention = float(reached.mean()) if len(reached) else float("nan")
    lines = {
        "FFN, changed token": by_layer[:, 1],
        "FFN, other tokens": by_layer[:, 0],
        "attention, later tokens": by_layer[:, 2],
    }
    return Finding(
        f"Noise at one token changes the FFN's output at that token by {show_share(there)}, and at other tokens by at "
        f"most {show_share(elsewhere)}. Attention's output at later tokens changes by {show_share(attention)}. For "
        f"permuted rows, the FFN's output is permuted in the same way, with an error of {show_share(ffn_permuted)}.",
        effects(by_sample),
        (
            Number(
                "ffn_change_elsewhere",
                "largest relative change of the FFN's output, other tokens",
                elsewhere,
                "share",
                attention,
            ),
            Number(
                "ffn_change_there", "mean relative change of the FFN's output, changed token", there, "share", elsewhere
            ),
            Number(
                "attention_change_elsewhere",
                "mean relative change of attention's output, later tokens within the attention window",
                attention,
                "share",
                elsewhere,
            ),
            Number(
                "permutation_error",
                "largest error of the FFN on permuted rows",
                ffn_permuted,
                "share",
                attention_permuted,
            ),
        ),
        (layer_curve("effect of a change at one token", "relative change of the output", lines, range(len(by_layer))),),
    )


def _cost_tokens(lab: LabContext) -> int:
    return (2 + 4 * SAMPLES) * len(_ids(lab))


EXPERIMENT = Experiment(
    key="F2",
    title="The FFN works on each position alone",
    question="If the input of one token changes, do the outputs of the FFN and of attention at other tokens change?",
    method=(
        f"The sequence has {TOKENS} tokens. Every pass sets the input of each layer to its clean value plus the tested "
        "change, so that no layer is affected by changes in other layers. The change is noise at one token of "
        "layers.l.input, with the same rms as its row. FFN: attention is ablated, so that the FFN depends on that "
        "input only; max |Δ ffn.output| at other tokens / max |ffn.output|, maximum over layers. Attention: nothing is "
        "ablated; mean |Δ attn.output| / mean |attn.output| at later tokens within the attention window, mean over "
        "layers. Permutation (law 6): FFN(rows[π]) is compared with FFN(rows)[π], with attention ablated. Its baseline "
        f"is the same error of attention. Noise, token and permutation come from {SAMPLES} random samples."
    ),
    rule=f"At other tokens, and for permuted rows, the error of the FFN is below {ROUNDING:.0%}. At the changed token, "
    f"its output changes by more than {ROUNDING:.0%}.",
    source="Vaswani et al. 2017, section 3.3: applied to each position separately and identically",
    cost_tokens=_cost_tokens,
    measure=_measure,
)
