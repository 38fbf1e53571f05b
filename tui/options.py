"""What is chosen on the screen, and how it is shown: plain values that every screen shares."""

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from jaxtyping import Float32

from edge.attention_pattern import attention_pattern
from edge.measure.registry import EXACT_ZERO, TOP_P, Measure
from edge.picture.palettes import CIVIDIS, Palette
from edge.sampling import Sampling
from edge.trace import Trace
from models.sites import layer_site
from models.spec import Activation, DecoderSpec

T = TypeVar("T")

LENGTHS = (16, 32, 64, 128, 256)
"""How many tokens a run may generate."""

SAMPLED = Sampling(temperature=0.8, top_p=0.95)
"""How tokens are chosen at first: small models that always take the likeliest token soon repeat themselves."""


@dataclass(frozen=True)
class Selection:
    """One choice, shared by every screen: `token` reads `key` through `head` of `layer`, whose FFN has `neuron`."""

    layer: int = 0
    head: int = 0
    token: int = 0
    key: int = 0
    neuron: int = 0


@dataclass(frozen=True)
class Score:
    """One number a head can be colored by.

    Attributes:
        field: Of `edge.measure.overview.HeadScores`.
        top: What the brightest color stands for; the largest score shown where None.
    """

    field: str
    title: str
    top: float | None = 1.0


SCORES = (
    Score("entropy_bits", "entropy, bits", None),
    Score("first_token", "first-token share"),
    Score("previous_token", "previous-token share"),
    Score("induction", "induction share"),
    Score("distance_tokens", "distance, tokens", None),
)


@dataclass(frozen=True)
class Role:
    """A role that a head plays: its score of `field` is at least `least`."""

    field: str
    short: str
    least: float


ROLES = (
    Role("previous_token", "prev", 0.5),  # Clark et al. 2019, section 3.1
    Role("induction", "ind", 0.5),
    Role("first_token", "sink", 0.3),  # ε of Gu et al. 2024
)


@dataclass(frozen=True)
class Color:
    """One number a token can be colored by, on the strip of every screen."""

    key: str
    title: str


COLORS = (
    Color("reads", "how much the chosen token reads it"),
    Color("surprise", "surprise, bits"),
    Color("received", "attention received, mean"),
    Color("sparsity", "sparsity of the chosen layer"),
    Color("ms", "time to come, ms"),
)


@dataclass(frozen=True)
class Options:
    """How things are shown.

    Attributes:
        is_log: Attention weights on a log scale.
        drops_first: The first token's column is left out of the map.
        shows_difference: The run beside less the one that shows, instead of both; of edits the other way round.
        max_new_tokens: Tokens a run generates at most.
        sampling: How a run chooses them; the seed is always 0, so every engine draws alike.
    """

    is_log: bool = False
    drops_first: bool = False
    score: Score = SCORES[0]
    sparsity: Measure = EXACT_ZERO
    color: Color = COLORS[0]
    shows_difference: bool = False
    max_new_tokens: int = 64
    sampling: Sampling = SAMPLED
    palette: Palette = CIVIDIS

    @property
    def plan(self) -> str:
        """What a run will do: `64 tokens, drawn at 0.8`."""
        heat = self.sampling.temperature
        return f"{self.max_new_tokens} tokens, {f'drawn at {heat:g}' if heat else 'greedy'}"


def after(choices: tuple[T, ...], current: T) -> T:
    """The choice that follows, the first after the last."""
    return choices[(choices.index(current) + 1) % len(choices)]


def suited(options: Options, spec: DecoderSpec) -> Options:
    """Exact zeros only where activations have them: top-p otherwise."""
    has_zeros = any(layer.ffn.activation == Activation.RELU for layer in spec.layers)
    if has_zeros or options.sparsity != EXACT_ZERO:
        return options
    return replace(options, sparsity=TOP_P)


def clamp(selection: Selection, trace: Trace) -> Selection:
    """The nearest choice that the trace has; a token reads itself and earlier ones only."""
    token = min(max(selection.token, 0), max(trace.n_fed - 1, 0))
    layer = min(max(selection.layer, 0), trace.spec.n_layers - 1)
    return Selection(
        layer=layer,
        head=min(max(selection.head, 0), trace.spec.n_heads - 1),
        token=token,
        key=min(max(selection.key, 0), token),
        neuron=min(max(selection.neuron, 0), trace.spec.layers[layer].ffn.d_ff - 1),
    )


def attention_row(trace: Trace, chosen: Selection) -> Float32[np.ndarray, " past"] | None:
    """What the chosen token reads through the chosen head, up to itself; None where that was not watched."""
    names = [layer_site(chosen.layer, part) for part in ("attn.query", "attn.key")]
    if not set(names) <= trace.sites.keys() or not trace.n_fed:
        return None
    query, key = (trace.sites[name][: chosen.token + 1].astype(np.float32) for name in names)
    kind, keys = trace.spec.layers[chosen.layer], key[:, chosen.head // trace.spec.sharing]
    rows = attention_pattern(query[-1:, chosen.head], keys, trace.spec.scale, kind.window, kind.score_cap)
    return np.asarray(rows[0])


def strongest_key(trace: Trace, chosen: Selection) -> int:
    """The key that the chosen token reads most through the chosen head; itself where that was not watched."""
    row = attention_row(trace, chosen)
    return chosen.key if row is None else int(row.argmax())
