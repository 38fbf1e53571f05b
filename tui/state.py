"""What is chosen on the screen, and what of a trace that shows: plain values, no widgets."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, UInt8

from edge.measure.attention import attention_pattern, visible_keys
from edge.measure.overview import Overview
from edge.picture.levels import Linear, Log, Scale, to_levels
from edge.picture.palettes import CIVIDIS, Palette
from edge.sampling import Sampling
from edge.trace import Trace
from models.sites import layer_site
from models.spec import Activation, DecoderSpec

FAINTEST = 1e-3
"""Where the log scale of attention weights begins."""


LENGTHS = (16, 32, 64, 128, 256)
"""How many tokens a run may generate."""

DRAWN = Sampling(temperature=0.8, top_p=0.95)
"""How tokens are chosen at first: small models that always take the likeliest token soon repeat themselves."""


@dataclass(frozen=True)
class Selection:
    """One choice, shared by every pane: `token` reads `key` through `head` of `layer`."""

    layer: int = 0
    head: int = 0
    token: int = 0
    key: int = 0


@dataclass(frozen=True)
class Options:
    """How things are shown.

    Attributes:
        is_log: Attention weights on a log scale.
        drops_first: The first token's column is left out of the map.
        shows_top_p: FFN sparsity is top-p 0.9 instead of the exact-zero share.
        scores_first: Heads are scored by their first-token share instead of their entropy.
        max_new_tokens: Tokens a run generates at most.
        sampling: How a run chooses them; the seed is always 0, so every engine draws alike.
    """

    is_log: bool = False
    drops_first: bool = False
    shows_top_p: bool = False
    scores_first: bool = False
    max_new_tokens: int = 64
    sampling: Sampling = DRAWN
    palette: Palette = CIVIDIS

    @property
    def plan(self) -> str:
        """What a run will do: `64 tokens, drawn at 0.8`."""
        heat = self.sampling.temperature
        return f"{self.max_new_tokens} tokens, {f'drawn at {heat:g}' if heat else 'greedy'}"


@dataclass(frozen=True)
class PatternPicture:
    """A pattern as colour levels, and the scale they lie on."""

    levels: UInt8[np.ndarray, "token past"]
    scale: Scale


def draw_pattern(
    pattern: Float32[np.ndarray, "token past"], trace: Trace, layer: int, options: Options
) -> PatternPicture:
    """Colours from 0, or the faintest on a log scale, to the largest weight shown; keys out of reach are hidden."""
    tokens, past = pattern.shape
    hidden = ~visible_keys(tokens, past, trace.spec.layers[layer].reach)
    if options.drops_first:
        hidden[:, 0] = True
    highest = max(float(np.max(pattern, initial=0.0, where=~hidden)), 2 * FAINTEST)
    scale = Log(FAINTEST, highest) if options.is_log else Linear(0.0, highest)
    return PatternPicture(to_levels(pattern, scale, hidden), scale)


@dataclass(frozen=True)
class ScorePicture:
    """One score for every head, what it is called, and its scale; None while no head is scored."""

    scores: Float32[np.ndarray, "layer head"]
    scale: Scale | None
    title: str


def draw_scores(overview: Overview, options: Options) -> ScorePicture:
    """Entropy from 0 to the widest head's; first-token share from 0 to 1."""
    if options.scores_first:
        return ScorePicture(overview.first_token_share, Linear(0.0, 1.0), "first-token share")
    known = overview.entropy_bits[~np.isnan(overview.entropy_bits)]
    scale = Linear(0.0, max(float(known.max()), 0.1)) if known.size else None
    return ScorePicture(overview.entropy_bits, scale, "entropy, bits")


def share_scale(shares: Float32[np.ndarray, "layer token"]) -> Linear:
    """From the tenth below the smallest share to 1: shares of silent neurons crowd near their top."""
    known = shares[~np.isnan(shares)]
    return Linear(min(float(np.floor(known.min() * 10) / 10), 0.9) if known.size else 0.0, 1.0)


def suited(options: Options, spec: DecoderSpec) -> Options:
    """Begins with exact zeros where activations have them, with top-p where they have none."""
    return replace(options, shows_top_p=all(layer.ffn.activation != Activation.RELU for layer in spec.layers))


def clamp(selection: Selection, trace: Trace) -> Selection:
    """The nearest choice that the trace has; a token reads itself and earlier ones only."""
    token = min(max(selection.token, 0), max(trace.n_fed - 1, 0))
    return Selection(
        layer=min(max(selection.layer, 0), trace.spec.n_layers - 1),
        head=min(max(selection.head, 0), trace.spec.n_heads - 1),
        token=token,
        key=min(max(selection.key, 0), token),
    )


def strongest_key(trace: Trace, chosen: Selection) -> int:
    """The key that the chosen token reads most through the chosen head; itself where that was not watched."""
    names = [layer_site(chosen.layer, part) for part in ("attn.query", "attn.key")]
    if not set(names) <= trace.sites.keys() or not trace.n_fed:
        return chosen.key
    query, key = (trace.sites[name][: chosen.token + 1] for name in names)
    kind, keys = trace.spec.layers[chosen.layer], key[:, chosen.head // trace.spec.sharing]
    row = attention_pattern(query[-1:, chosen.head], keys, trace.spec.scale, kind.reach, kind.score_cap)
    return int(row.argmax())
