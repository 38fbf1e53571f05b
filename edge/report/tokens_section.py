"""The beginning of a page: what ran, and its tokens, each colored by a number."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from edge.measure.registry import MEASURES
from edge.picture.levels import Linear
from edge.picture.units import show_number, show_share
from edge.report.byte_levels import quantized_text, to_byte_levels
from edge.report.markup import Markup, Section, gradient, note, tag
from edge.report.scales import PALETTE, Show, exactness, scale_record
from edge.report.trace_values import AttentionMaps, FfnSparsity, logprobs_of, share_scale
from edge.trace import Trace
from models.sites import LOGITS, PARTS

LONGEST_PROMPT = 400
"""Characters of a text in the header at most; the tokens below are complete."""

_ENDS = {
    "length": "as many tokens as were asked for",
    "stop": "the model ended its text",
    "stopped": "stopped by its user",
    "context": "the context was full",
}


@dataclass(frozen=True)
class Scalar:
    """One number for each token, by which it can be colored.

    Attributes:
        definition: Formula and unit.
        values: NaN where a token has none.
    """

    key: str
    title: str
    definition: str
    values: Float32[np.ndarray, " token"]
    scale: Linear
    show: Show


def header(trace: Trace, sections: Sequence[Section]) -> Markup:
    """Model, engine, versions, the text, what was watched, and the way to each section."""
    prompt, made = "".join(trace.pieces[: trace.prompt_length]), "".join(trace.pieces[trace.prompt_length :])
    title = tag("h1", trace.model, " ", tag("small", f"on {trace.engine}"))
    said = tag("p", tag("span", _shortened(prompt), class_="given"), tag("span", _shortened(made)), class_="said")
    facts = tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in _facts(trace)), class_="facts")
    run = "a run with edits" if trace.edits else "a watched run"
    kind = tag("p", f"edge report · {run}: its values, not its speed", class_="kind")
    ways = tag("nav", *(tag("a", one.title, href=f"#{one.id}") for one in sections), aria_label="sections")
    return tag("header", kind, title, said, facts, ways)


def _shortened(words: str) -> str:
    if len(words) <= LONGEST_PROMPT:
        return words
    return f"{words[:LONGEST_PROMPT]} … ({len(words):,} characters; all tokens are below)"


def _facts(trace: Trace) -> list[tuple[str, str]]:
    spec, made = trace.spec, len(trace.generated)
    d_ff = sorted({layer.ffn.d_ff for layer in spec.layers})
    sizes = f"{spec.n_layers} layers · {spec.n_heads} heads · d_model {spec.d_model:,} · d_ff "
    return [
        *([("edits", " · ".join(trace.edits))] if trace.edits else []),
        ("versions", " · ".join(f"{name} {version}" for name, version in trace.versions.items())),
        ("sizes", sizes + "/".join(f"{size:,}" for size in d_ff) + f" · vocabulary {spec.vocab_size:,}"),
        ("tokens", f"{trace.prompt_length:,} given, {made:,} generated, {trace.n_fed:,} fed of {spec.context:,}"),
        ("ended", _ENDS.get(trace.finish, trace.finish)),
        ("watched", _watched(trace)),
    ]


def _watched(trace: Trace) -> str:
    watch = trace.watch
    parts = "every part" if set(watch.parts) == set(PARTS) else ", ".join(watch.parts)
    layers = "every layer" if watch.layers is None else f"layers {', '.join(map(str, watch.layers))}"
    named = [f"{parts} of {layers}"] if watch.parts else []
    named += ["the logits"] if watch.logits else []
    kept = "float16" if watch.half else "float32"
    return f"{' and '.join(named) or 'nothing'}, {kept}: {len(trace.sites)} sites"


def tokens_section(trace: Trace, maps: AttentionMaps | None, sparsity: FfnSparsity | None) -> Section:
    """Every token, the given ones apart from the generated ones, colored by a number of the reader's choice."""
    scalars = _scalars(trace, maps, sparsity)
    pieces = (_token(place, piece, trace) for place, piece in enumerate(trace.pieces))
    strip = tag("div", *pieces, id="strip", role="listbox", aria_label="tokens")
    how = note(
        "Underlined tokens were given, the others generated. ",
        "Choose one by mouse or by arrow keys to see what it attends to. ",
        tag("span", id="scalar-definition"),
    )
    record = {"scalars": [_scalar_record(scalar) for scalar in scalars]}
    return Section("tokens", "Tokens", (how, _choice(scalars), strip), record)


def _token(place: int, piece: str, trace: Trace) -> Markup:
    kind = "given" if place < trace.prompt_length else "made"
    return tag("span", piece, class_=kind, role="option", tabindex=0 if place == 0 else -1, aria_selected="false")


def _choice(scalars: Sequence[Scalar]) -> Markup:
    if not scalars:
        return note("Nothing that was kept gives a token a number.")
    options = (tag("option", scalar.title, value=scalar.key) for scalar in scalars)
    label = tag("label", "color ", tag("select", *options, id="scalar"))
    return tag("div", label, legend("scalar"), tag("output", id="token-readout", aria_live="polite"), class_="controls")


def legend(id: str) -> Markup:
    """The palette between two ends, which the script names."""
    low, high = tag("span", id=f"{id}-low"), tag("span", id=f"{id}-high")
    return tag("span", low, gradient(PALETTE), high, class_="legend")


def _scalars(trace: Trace, maps: AttentionMaps | None, sparsity: FfnSparsity | None) -> list[Scalar]:
    """What was kept of this run, the most telling first."""
    found = [_logprob(trace)]
    if maps is not None and maps.not_ablated.any():
        bits, first = (
            maps.entropy_bits[maps.not_ablated].mean(axis=0),
            maps.first_token_share[maps.not_ablated].mean(axis=0),
        )
        most = Linear(0.0, max(float(bits.max()), 0.1))
        found += [
            Scalar("entropy", "attention entropy", f"{_ENTROPY} {_OVER_HEADS}", bits, most, _bits),
            Scalar("first", "share of the first token", f"{_FIRST} {_OVER_HEADS}", first, _SHARE, show_share),
        ]
    if sparsity is not None:
        for measure in MEASURES:
            mean = sparsity.values[measure.key].mean(axis=0)
            title, what = f"FFN sparsity, {measure.title}", f"{measure.definition} {_OVER_LAYERS}"
            found.append(Scalar(measure.key, title, what, mean, _from(mean), measure.unit.show))
    return [scalar for scalar in found if not np.isnan(scalar.values).all()]


_ENTROPY = "How widely the token attends: −Σ p·log₂ p of its row of the pattern, in bits."
_FIRST = "The weight that the token gives to the first token, a share of 1 (Gu et al. 2024)."
_OVER_HEADS = "Mean over the heads of all watched layers."
_OVER_LAYERS = "Mean over all watched layers."
_SHARE = Linear(0.0, 1.0)


def _logprob(trace: Trace) -> Scalar:
    values = logprobs_of(trace)
    known = values[np.isfinite(values)]
    lowest = min(float(np.floor(known.min())), -1.0) if known.size else -1.0
    without = "" if LOGITS in trace.sites else " Given tokens have none here: the logits were not watched."
    definition = (
        f"Natural logarithm of the probability that the model gave the token, before any sampling, in nats.{without}"
    )
    return Scalar("logprob", "log-probability", definition, values, Linear(lowest, 0.0), _nats)


def _from(shares: Float32[np.ndarray, " token"]) -> Linear:
    return share_scale(shares[None, :])


def _bits(value: float) -> str:
    return f"{show_number(value)} bits"


def _nats(value: float) -> str:
    return f"{show_number(value).replace('-', '−')} nats"


def _scalar_record(scalar: Scalar) -> dict[str, Any]:
    return scale_record(scalar.scale, scalar.show) | {
        "key": scalar.key,
        "title": scalar.title,
        "definition": f"{scalar.definition} Kept as {exactness(scalar.scale, scalar.show)}.",
        "levels": quantized_text(to_byte_levels(scalar.values, scalar.scale)),
    }
