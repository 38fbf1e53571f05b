"""F2: what one token changes at others, through the FFN and through attention."""

from dataclasses import astuple, dataclass

import numpy as np
from jaxtyping import Float32

from edge.edits import Edit, Replace, Silence
from edge.lab.claim import Experiment, Finding, Number, Verdict, layer_curve
from edge.lab.prompts import SEED
from edge.lab.subject import Subject
from edge.measure.attention import visible_keys
from edge.picture.units import show_share
from edge.watch import Watch
from models.sites import layer_site

TOKENS = 64
"""Of the sequence: enough that most of it comes after the token that is changed."""

ROUNDING = 1e-2
"""Relative error of half precision (law 5); float32 stays below 1e-5, and attention moves by far more than both."""

_WATCHED = ("input", "attn.output", "ffn.output")
_PASSES = 6

Rows = Float32[np.ndarray, "token model"]


@dataclass(frozen=True)
class Moved:
    """How one layer answers to a change of its input; shares of what the sublayer writes."""

    ffn_elsewhere: float
    ffn_there: float
    attention_elsewhere: float
    ffn_permuted: float
    attention_permuted: float


def _largest(change: Float32[np.ndarray, "some model"], of: Rows) -> float:
    """`max |Δ| / max |y|`; 0 where nothing is written."""
    return float(np.abs(change).max(initial=0.0) / (np.abs(of).max(initial=0.0) or 1.0))


def _mean(change: Rows, of: Rows) -> float:
    """`mean |Δ| / mean |y|`; NaN over no rows."""
    if not len(of):
        return float("nan")
    return float(np.abs(change).mean(dtype=np.float64) / (np.abs(of).mean(dtype=np.float64) or 1.0))


def _ids(subject: Subject) -> tuple[int, ...]:
    return subject.windows[0][:TOKENS]


def moved(subject: Subject, layer: int, ids: tuple[int, ...]) -> Moved:
    """Changes the layer's input at one token, then the order of all its rows, with its attention and without."""
    watch = Watch(parts=_WATCHED, layers=(layer,))
    silence = Silence(layer_site(layer, "attn"))
    tokens, changed = tuple(range(len(ids))), len(ids) // 4

    def wrote(part: str, *edits: Edit) -> Rows:
        return subject.see(ids, edits, watch).site(layer_site(layer, part))

    random = np.random.default_rng([SEED, layer])
    clean = subject.see(ids, (), watch)
    rows, attention = clean.site(layer_site(layer, "input")), clean.site(layer_site(layer, "attn.output"))
    ffn = wrote("ffn.output", silence)

    row = rows[[changed]]
    noise = np.sqrt(np.mean(row**2)) * random.standard_normal(row.shape, np.float32)
    other = Replace(layer_site(layer, "input"), (changed,), row + noise)
    ffn_change = wrote("ffn.output", silence, other) - ffn
    attention_change = wrote("attn.output", other) - attention
    elsewhere = np.arange(len(ids)) != changed
    reached = visible_keys(len(ids), len(ids), subject.spec.layers[layer].reach)[:, changed] & elsewhere

    order = random.permutation(len(ids))
    shuffled = Replace(layer_site(layer, "input"), tokens, rows[order])
    permuted = subject.see(ids, (shuffled,), watch).site(layer_site(layer, "attn.output"))
    return Moved(
        ffn_elsewhere=_largest(ffn_change[elsewhere], ffn),
        ffn_there=_mean(ffn_change[[changed]], ffn[[changed]]),
        attention_elsewhere=_mean(attention_change[reached], attention[reached]),
        ffn_permuted=_largest(wrote("ffn.output", silence, shuffled) - ffn[order], ffn),
        attention_permuted=_largest(permuted - attention[order], attention),
    )


def _measure(subject: Subject) -> Finding:
    ids = _ids(subject)
    found = [moved(subject, layer, ids) for layer in range(subject.spec.n_layers)]
    by_layer = np.array([astuple(one) for one in found])
    elsewhere, ffn_permuted, attention_permuted = (float(worst) for worst in by_layer[:, [0, 3, 4]].max(axis=0))
    there = float(by_layer[:, 1].mean())
    reached = by_layer[~np.isnan(by_layer[:, 2]), 2]
    attention = float(reached.mean()) if len(reached) else float("nan")
    alone = elsewhere <= ROUNDING and ffn_permuted <= ROUNDING and there > ROUNDING
    lines = {
        "FFN, that token": [one.ffn_there for one in found],
        "FFN, other tokens": [one.ffn_elsewhere for one in found],
        "attention, later tokens": [one.attention_elsewhere for one in found],
    }
    curve = layer_curve("what a change at one token does", "share of what is written", lines, range(len(found)))
    return Finding(
        Verdict.HOLDS if alone else Verdict.FAILS,
        f"Noise on one token changes what the FFN writes there by {show_share(there)}, at all other tokens by "
        f"{show_share(elsewhere)}; attention at later tokens moves by {show_share(attention)}. With its input in "
        f"another order an FFN writes the same rows in that order, with a largest error of {show_share(ffn_permuted)}.",
        (
            Number("ffn_change_elsewhere", "largest change of an FFN, other tokens", elsewhere, "share", attention),
            Number("ffn_change_there", "mean change of an FFN, the changed token", there, "share", elsewhere),
            Number("attention_change_elsewhere", "mean change, later tokens in reach", attention, "share", elsewhere),
            Number(
                "permutation_error", "FFN of permuted rows, largest error", ffn_permuted, "share", attention_permuted
            ),
        ),
        (curve,),
    )


def _cost_tokens(subject: Subject) -> int:
    return _PASSES * subject.spec.n_layers * len(_ids(subject))


EXPERIMENT = Experiment(
    key="F2",
    claim="the FFN works on each position alone",
    asks="When one token's row changes, does what the FFN writes at other tokens change, and what attention writes?",
    how=(
        f"Over {TOKENS} tokens, layer by layer: noise as large as the row is added to layers.l.input at one token, a "
        "quarter of the way. With the layer's attention silenced, the FFN reads that input alone: max |Δ ffn.output| "
        "at other tokens / max |ffn.output|, the largest of all layers. Unsilenced: mean |Δ attn.output| / mean "
        "|attn.output| at later tokens within reach, mean over layers. Law 6: all rows in another order, FFN(rows[π]) "
        "against FFN(rows)[π], attention silenced; beside it the same of attention."
    ),
    rule=f"holds where an FFN moves at its own token and, elsewhere and when permuted, by {ROUNDING:.0%} at most",
    source="Vaswani et al. 2017, section 3.3: applied to each position separately and identically",
    cost_tokens=_cost_tokens,
    measure=_measure,
)
