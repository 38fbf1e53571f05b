"""The header of a page with the model and the run, and the section "Tokens": each token colored by a number."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from edge.measure.registry import MEASURES
from edge.mixture_neurons import sizes_text
from edge.picture.levels import Linear
from edge.picture.units import show_number, show_share
from edge.report.byte_levels import quantized_text, to_byte_levels
from edge.report.markup import Markup, Section, gradient, note, tag
from edge.report.scales import PALETTE, Show, exactness, scale_record
from edge.report.trace_values import AttentionMaps, FfnSparsity, logprobs_of, share_scale
from edge.trace import Trace
from models.sites import LOGITS, parts_of

LONGEST_PROMPT = 400
"""Most characters of a text in the header. The section "Tokens" is complete."""

_ENDS = {
    "length": "at the maximum number of new tokens",
    "stop": "at a stop token",
    "stop_text": "at a stop text",
    "stopped": "stopped by the user",
    "context": "context full",
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
    """Model, engine, versions, text, recorded sites, and a link to each section."""
    prompt, generated = "".join(trace.pieces[: trace.prompt_length]), "".join(trace.pieces[trace.prompt_length :])
    title = tag("h1", trace.model, " ", tag("small", f"on {trace.engine}"))
    spans = tag("span", _shortened(prompt), class_="prompt"), tag("span", _shortened(generated))
    text = tag("p", *spans, class_="run-text")
    facts = tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in _facts(trace)), class_="facts")
    run = "a run with edits" if trace.edits else "one run"
    kind = tag("p", f"edge report · the recorded activations of {run}", class_="kind")
    links = tag("nav", *(tag("a", one.title, href=f"#{one.id}") for one in sections), aria_label="sections")
    return tag("header", kind, title, text, facts, links)


def _shortened(words: str) -> str:
    if len(words) <= LONGEST_PROMPT:
        return words
    return f"{words[:LONGEST_PROMPT]} … ({len(words):,} characters; all tokens are below)"


def _facts(trace: Trace) -> list[tuple[str, str]]:
    spec, generated = trace.spec, len(trace.generated)
    sizes = f"{spec.n_layers} layers · {spec.n_heads} heads · d_model {spec.d_model:,} · d_ff "
    return [
        *([("edits", " · ".join(trace.edits))] if trace.edits else []),
        ("versions", " · ".join(f"{name} {version}" for name, version in trace.versions.items())),
        ("sizes", sizes + sizes_text(spec, "/", "{:,}".format) + f" · vocabulary {spec.vocab_size:,}"),
        (
            "tokens",
            f"{trace.prompt_length:,} in the prompt, {generated:,} generated; {trace.n_fed:,} processed, "
            f"of a context of {spec.context:,}",
        ),
        ("ended", _ENDS.get(trace.finish, trace.finish)),
        ("recorded", _recorded(trace)),
    ]


def _recorded(trace: Trace) -> str:
    watch = trace.watch
    every = watch.parts is None or set(watch.parts) == set(parts_of(trace.spec))
    parts = "all sites" if every else ", ".join(watch.parts or ())
    layers = "all layers" if watch.layers is None else f"layers {', '.join(map(str, watch.layers))}"
    named = [f"{parts} of {layers}"] if parts else []
    named += ["the logits"] if watch.logits else []
    precision = "float16" if watch.half else "float32"
    return f"{' and '.join(named) or 'nothing'}: {len(trace.sites)} sites in {precision}"


def tokens_section(trace: Trace, maps: AttentionMaps | None, sparsity: FfnSparsity | None) -> Section:
    """Every token, colored by a number that the reader chooses; the tokens of the prompt are underlined."""
    scalars = _scalars(trace, maps, sparsity)
    pieces = (_token(place, piece, trace) for place, piece in enumerate(trace.pieces))
    strip = tag("div", *pieces, id="strip", role="listbox", aria_label="tokens")
    how = note(
        "Underlined: tokens of the prompt; the others were generated. ",
        "Choose a token with the mouse or the arrow keys: the attention map below then shows its row. ",
        tag("span", id="scalar-definition"),
    )
    record = {"scalars": [_scalar_record(scalar) for scalar in scalars]}
    return Section("tokens", "Tokens", (how, _choice(scalars), strip), record)


def _token(place: int, piece: str, trace: Trace) -> Markup:
    kind = "prompt" if place < trace.prompt_length else "generated"
    return tag("span", piece, class_=kind, role="option", tabindex=0 if place == 0 else -1, aria_selected="false")


def _choice(scalars: Sequence[Scalar]) -> Markup:
    if not scalars:
        return note("This run recorded no values to color tokens by.")
    options = (tag("option", scalar.title, value=scalar.key) for scalar in scalars)
    label = tag("label", "color ", tag("select", *options, id="scalar"))
    return tag("div", label, legend("scalar"), tag("output", id="token-readout", aria_live="polite"), class_="controls")


def legend(id: str) -> Markup:
    """The palette between its lowest and highest number; the script fills in the two numbers."""
    low, high = tag("span", id=f"{id}-low"), tag("span", id=f"{id}-high")
    return tag("span", low, gradient(PALETTE), high, class_="legend")


def _scalars(trace: Trace, maps: AttentionMaps | None, sparsity: FfnSparsity | None) -> list[Scalar]:
    """The numbers that this run has for its tokens, in the order of the menu."""
    found = [_logprob(trace)]
    if maps is not None and maps.not_ablated.any():
        bits, first = (
            maps.entropy_bits[maps.not_ablated].mean(axis=0),
            maps.first_token_share[maps.not_ablated].mean(axis=0),
        )
        most = Linear(0.0, max(float(bits.max()), 0.1))
        found += [
            Scalar("entropy", "attention entropy", f"{_ENTROPY} {_OVER_HEADS}", bits, most, _bits),
            Scalar("first", "first-token share", f"{_FIRST} {_OVER_HEADS}", first, _SHARE, show_share),
        ]
    if sparsity is not None:
        for measure in MEASURES:
            mean = sparsity.values[measure.key].mean(axis=0)
            title, what = f"FFN sparsity, {measure.title}", f"{measure.definition} {_OVER_LAYERS}"
            found.append(Scalar(measure.key, title, what, mean, _from(mean), measure.unit.show))
    return [scalar for scalar in found if not np.isnan(scalar.values).all()]


_ENTROPY = "Entropy of the attention weights of the token: −Σ p·log₂ p of its row, in bits."
_FIRST = "Attention weight from the token to the first token, a share of 1 (attention sink, Gu et al. 2024)."
_OVER_HEADS = "Mean over the heads of all recorded layers."
_OVER_LAYERS = "Mean over all recorded layers."
_SHARE = Linear(0.0, 1.0)


def _logprob(trace: Trace) -> Scalar:
    values = logprobs_of(trace)
    known = values[np.isfinite(values)]
    lowest = min(float(np.floor(known.min())), -1.0) if known.size else -1.0
    without = "" if LOGITS in trace.sites else " Tokens of the prompt have no number: the logits were not recorded."
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
        "definition": f"{scalar.definition} {exactness(scalar.scale, scalar.show)}",
        "levels": quantized_text(to_byte_levels(scalar.values, scalar.scale)),
    }
