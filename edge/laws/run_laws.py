"""Laws that need separate runs: 2, 6, 7 and 8."""

import math
from dataclasses import replace
from itertools import zip_longest

import numpy as np
from jaxtyping import Float32

from edge.change import Edit
from edge.compare.sites import token_errors
from edge.compare.tolerances import TOLERANCES
from edge.edits import Ablate, Noise, Replace, ScaleExpert, ScaleHead, ScaleNeuron
from edge.laws.case import NEW_TOKENS, Case
from edge.laws.result import LawResult, SiteDifference, law_result, site_difference, skipped_law
from edge.picture.pieces import quote_piece
from edge.picture.units import show_number, show_share
from edge.timing import SublayerTiming
from edge.trace import Trace
from edge.watch import Watch
from models.sites import ATTENTION_OUTPUT, FFN_OUTPUT, LOGITS, SUBLAYERS, layer_site, sites_of

RECORDING = "recording changes no logit and no token"
POSITIONS = "FFN is position-wise, attention is not"
SHARES = "parts + unattributed time = whole pass"
CACHE = "cache = full pass; factor 1 = no edit"

SUMS_TO = 1e-6
"""Largest relative difference of equal sums of nanoseconds."""

REPEATS = 5
"""Passes of each timing; few, because a sum is checked, not a time."""


def law_2(case: Case) -> LawResult:
    """A run that records has the logits and tokens of one that does not."""
    plain = case.run(Watch.nothing(), new_tokens=NEW_TOKENS)
    logits = case.model.logits(list(case.ids))
    found: list[SiteDifference] = []
    for watch in case.blocks():
        watched = case.run(replace(watch, logits=True), new_tokens=NEW_TOKENS)
        found.append(
            site_difference(watched.site(LOGITS)[: len(logits)], logits, case.tolerance, LOGITS, watched.pieces)
        )
        found += _chosen_difference(watched, plain, case.tolerance)
    return law_result(2, RECORDING, case.tolerance, found, len(case.ids))


def _chosen_difference(watched: Trace, plain: Trace, tolerance: float) -> list[SiteDifference]:
    """Differences of the generated tokens and of their log-probabilities."""
    own, other = (trace.pieces[trace.prompt_length :] for trace in (watched, plain))
    for place, (piece, unwatched) in enumerate(zip_longest(own, other, fillvalue="")):
        if watched.generated[place : place + 1] != plain.generated[place : place + 1]:
            where = f"generated token {place}: {quote_piece(piece)} recorded, {quote_piece(unwatched)} not recorded"
            return [SiteDifference(math.inf, where)]
    if not own:
        return []
    given, wanted = (np.array(trace.logprobs, np.float32)[:, None] for trace in (watched, plain))
    return [site_difference(given, wanted, tolerance, "log-probability of the generated tokens", own)]


def law_6(case: Case) -> LawResult:
    """If the rows of its input are reordered, the FFN's output is reordered in the same way; attention's is not.

    Checked in the first, the middle and the last layer. For the FFN, attention is ablated, so that the FFN depends on
    the layer's input only.
    """
    tokens = tuple(range(len(case.ids)))
    if len(tokens) < 2:
        return skipped_law(
            6, POSITIONS, case.tolerance, "one token cannot be reordered; run a longer prompt", len(tokens)
        )
    order, found, moved = list(reversed(tokens)), [], math.inf
    noticed = max(100 * TOLERANCES["fp32"], 2 * case.tolerance)
    last = case.spec.n_layers - 1
    for layer in sorted({0, last // 2, last}):
        ablated = Ablate(f"layers.{layer}.attn")

        def wrote(part: str, *edits: Edit, layer: int = layer) -> Float32[np.ndarray, "token model"]:
            return case.run(Watch(parts=(part,), layers=(layer,)), edits).site(layer_site(layer, part))

        turned = Replace(layer_site(layer, "input"), tokens, wrote("input")[order])
        rows = wrote(FFN_OUTPUT, ablated)[order]
        after = wrote(FFN_OUTPUT, ablated, turned)
        found.append(site_difference(after, rows, case.tolerance, layer_site(layer, FFN_OUTPUT), case.pieces))
        attention = float(token_errors(wrote(ATTENTION_OUTPUT, turned), wrote(ATTENTION_OUTPUT)[order]).max())
        moved = min(moved, attention)
        if not attention > noticed:
            found.append(SiteDifference(math.inf, f"attention of layer {layer} did not depend on the order"))
    return law_result(
        6, POSITIONS, case.tolerance, found, len(tokens), f"attention changes by at least {show_number(moved)}"
    )


def law_7(case: Case) -> LawResult:
    """The timed parts and the unattributed time of a prefill and of a decode step sum to the uninstrumented latency."""
    found, notes = [], []
    for what, tokens in {"prefill": len(case.ids), "decode step": 1}.items():
        case.progress(f"timing a {what}")
        timing = case.model.time_sublayers(list(case.ids), tokens=tokens, repeats=REPEATS)
        case.progress(f"timed a {what}")
        if timing is None:
            return skipped_law(7, SHARES, SUMS_TO, "the timing was stopped; check it again", len(case.ids))
        found.append(_sum_difference(timing, what, case.spec.n_layers))
        notes.append(f"{what} {show_share(timing.coverage)}")
    return law_result(7, SHARES, SUMS_TO, found, len(case.ids), f"coverage: {', '.join(notes)}")


def _sum_difference(timing: SublayerTiming, what: str, n_layers: int) -> SiteDifference:
    """`|Σ parts + gap - total| / total`; infinite if a part was not timed, or is unknown."""
    wanted = {"embed", "head", *(f"layers.{layer}.{part}" for layer in range(n_layers) for part in SUBLAYERS)}
    untimed = [scope for scope in sorted(wanted) if not timing.measured_ns.get(scope, 0.0) > 0]
    strange = sorted(timing.measured_ns.keys() - wanted - {"other"})
    if untimed or strange:
        return SiteDifference(
            math.inf, f"{what}: {untimed[0]} was not timed" if untimed else f"{what}: {strange[0]} is an unknown part"
        )
    whole_ns = sum(timing.scaled_ns.values()) + (timing.gap_ns or 0.0)
    kind = f"prefill of {timing.tokens} tokens" if what == "prefill" else "a decode step"
    where = f"{kind}, {timing.depth} cached tokens"
    return SiteDifference(abs(whole_ns - timing.total_ns) / timing.total_ns, where)


def law_8(case: Case) -> LawResult:
    """Decoding token by token gives the logits of one full pass, and edits with factor 1 change nothing."""
    decoded = case.run(Watch(parts=(), logits=True), new_tokens=NEW_TOKENS)
    full = case.model.logits(list(decoded.tokens[: decoded.n_fed]))
    found = [site_difference(decoded.site(LOGITS), full, case.tolerance, f"{LOGITS} with the cache", decoded.pieces)]
    layers = tuple(sorted({0, case.spec.n_layers - 1}))
    watch = Watch(parts=None, layers=layers, logits=True)
    before = case.run(watch)
    after = case.run(watch, _neutral(before, layers))
    for site in before.sites:
        found.append(
            site_difference(after.site(site), before.site(site), case.tolerance, f"{site} with edits", before.pieces)
        )
    return law_result(8, CACHE, case.tolerance, found, decoded.n_fed)


def _neutral(before: Trace, layers: tuple[int, ...]) -> list[Edit]:
    """Edits without effect: factors of 1, noise of 0, and sites replaced by their own values."""
    some = sorted({0, before.n_fed // 2, before.n_fed - 1})
    sites = sites_of(before.spec)
    put = [
        site.name
        for site in sites.values()
        if site.layer in layers and site.editable and site.changed_shape == site.row_shape
    ]
    one_by_one: list[ScaleHead | ScaleNeuron | ScaleExpert] = [
        ScaleHead(0, 0, 1.0),
        ScaleNeuron(0, 0, 1.0, tokens=(some[0],)),
        ScaleExpert(0, 0, 1.0),
    ]
    return [
        *(edit for edit in one_by_one if edit.site in sites),
        Noise((some[-1],), 0.0),
        *(Replace(site, tuple(some), before.site(site)[some]) for site in put),
    ]
