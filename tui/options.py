"""Selection and display options, shared by all screens."""

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from jaxtyping import Float32

from edge.attention_pattern import attention_pattern
from edge.measure.registry import EXACT_ZERO, TOP_P, Measure
from edge.picture.palettes import CIVIDIS, Palette
from edge.sampling import Sampling
from edge.trace import Trace
from models.sites import KEY, QUERY, layer_site
from models.spec import DecoderSpec, MoE

T = TypeVar("T")

LENGTHS = (16, 32, 64, 128, 256)
"""Choices for the number of tokens to generate."""

SAMPLED = Sampling(temperature=0.8, top_p=0.95)
"""The default sampling: with greedy decoding, small models soon repeat themselves."""


@dataclass(frozen=True)
class Selection:
    """The selection of all screens: query `token`, `key`, `head`, `layer`, and `neuron` and `expert` of its FFN."""

    layer: int = 0
    head: int = 0
    token: int = 0
    key: int = 0
    neuron: int = 0
    expert: int = 0


@dataclass(frozen=True)
class Score:
    """A score of heads.

    Attributes:
        field: A field of `edge.measure.overview.HeadScores`.
        top: The score of the brightest color; the largest score where None.
        none: Why no head has this score.
    """

    field: str
    title: str
    top: float | None = 1.0
    none: str = ""


SCORES = (
    Score("entropy_bits", "entropy, bits", None),
    Score("first_token", "first-token share"),
    Score("previous_token", "previous-token share"),
    Score("induction", "induction score", none="no token occurs twice in this text"),
    Score("distance_tokens", "distance, tokens", None),
)


@dataclass(frozen=True)
class Role:
    """A role of heads: the score `field` is at least `least`."""

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
    """A metric to color tokens by."""

    key: str
    title: str


COLORS = (
    Color("attention", "attention weight"),
    Color("surprisal", "surprisal, bits"),
    Color("received", "attention received, mean"),
    Color("sparsity", "sparsity of the selected layer"),
    Color("latency", "inter-token latency, ms"),
)


@dataclass(frozen=True)
class Options:
    """Display options.

    Attributes:
        is_log: Attention weights on a log scale.
        drops_first: The first token's column is hidden.
        shows_difference: Draw the difference of two runs; inverted while edits are active.
        max_new_tokens: Most tokens that a run generates.
        sampling: Sampling or greedy decoding; the seed is 0, so all engines sample the same tokens.
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
        """What a run will do: `64 tokens, sampled (temperature 0.8, top-p 0.95)`."""
        sampling = self.sampling
        if not sampling.temperature:
            return f"{self.max_new_tokens} tokens, greedy"
        return f"{self.max_new_tokens} tokens, sampled (temperature {sampling.temperature:g}, top-p {sampling.top_p:g})"


def after(choices: tuple[T, ...], current: T) -> T:
    """The next choice, the first after the last."""
    return choices[(choices.index(current) + 1) % len(choices)]


def suited(options: Options, spec: DecoderSpec) -> Options:
    """Exact zeros only for ReLU; top-p otherwise."""
    has_zeros = any(one.has_zeros for one in spec.activations)
    if has_zeros or options.sparsity != EXACT_ZERO:
        return options
    return replace(options, sparsity=TOP_P)


def clamp(selection: Selection, trace: Trace) -> Selection:
    """The nearest selection within the trace; the key is at most the query."""
    token = min(max(selection.token, 0), max(trace.n_fed - 1, 0))
    layer = min(max(selection.layer, 0), trace.spec.n_layers - 1)
    ffn = trace.spec.layers[layer].ffn
    return Selection(
        layer=layer,
        head=min(max(selection.head, 0), trace.spec.n_heads - 1),
        token=token,
        key=min(max(selection.key, 0), token),
        neuron=min(max(selection.neuron, 0), trace.spec.d_ffs[layer] - 1),
        expert=min(max(selection.expert, 0), ffn.n_experts - 1) if isinstance(ffn, MoE) else 0,
    )


def attention_row(trace: Trace, chosen: Selection) -> Float32[np.ndarray, " past"] | None:
    """Attention weights of the chosen query and head, over keys up to itself; None if they were not recorded."""
    names = [layer_site(chosen.layer, part) for part in (QUERY, KEY)]
    if not set(names) <= trace.sites.keys() or not trace.n_fed:
        return None
    query, key = (trace.sites[name][: chosen.token + 1].astype(np.float32) for name in names)
    kind = trace.spec.layers[chosen.layer].attention
    keys = key[:, chosen.head // kind.sharing]
    sink = trace.sink(chosen.layer, chosen.head)
    rows = attention_pattern(query[-1:, chosen.head], keys, kind.scale, kind.window, kind.score_cap, sink)
    return np.asarray(rows[0])


def strongest_key(trace: Trace, chosen: Selection) -> int:
    """The key with the largest weight for the chosen query and head; the chosen key if they were not recorded."""
    row = attention_row(trace, chosen)
    return chosen.key if row is None else int(row.argmax())
