"""Laws of one trace and the model's weights: 1, 3 and 4. Laws 1 and 3 are checked on all watched layers."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float32, Float64

from edge.laws.result import LawResult, SiteDifference, law_result, site_difference, skipped_law
from edge.measure.attribution import direct_logit_attribution
from edge.picture.pieces import quote_piece
from edge.readout import Readout, norm_weights, open_output_projection
from edge.trace import Trace
from models.checkpoint import Checkpoint
from models.sites import ATTENTION, ATTENTION_OUTPUT, HEADS, LOGITS, SUBLAYERS, VALUE, layer_site
from models.spec import NoCap, SoftCap

PATTERNS = "pattern · value · W_O = attn.output"
SUMS = "input + attn + FFN outputs = output"
ATTRIBUTIONS = "direct attributions sum to the logits"

Question = tuple[int, int | None]
"""A target token, and the token whose logit is subtracted; None for the mean of all logits."""


def watched_layers(trace: Trace) -> Sequence[int]:
    """The layers whose sites a trace has."""
    return range(trace.spec.n_layers) if trace.watch.layers is None else trace.watch.layers


def law_1(trace: Trace, checkpoint: Checkpoint, tolerance: float) -> LawResult:
    """pattern · value · W_O, with bias and output norm if there are any, equals the recorded attn.output.

    Needs every site of attention.
    """
    found: list[SiteDifference] = []
    for layer in watched_layers(trace):
        read, projection = _heads(trace, layer), open_output_projection(checkpoint, layer, ATTENTION)
        written = projection.after(projection(read.reshape(len(read), -1)))
        for part, got in ((HEADS, read), (ATTENTION_OUTPUT, written)):
            site = layer_site(layer, part)
            found.append(site_difference(got, trace.site(site), tolerance, site, trace.pieces))
    return law_result(1, PATTERNS, tolerance, found, trace.n_fed)


def _heads(trace: Trace, layer: int) -> Float32[np.ndarray, "token head head_dim"]:
    """The weighted sum of values of each head, from the attention pattern that screens show."""
    values = trace.site(layer_site(layer, VALUE))
    kind = trace.spec.layers[layer].attention
    heads = [trace.pattern(layer, head) @ values[:, head // kind.sharing] for head in range(kind.n_heads)]
    return np.stack(heads, axis=1)


def law_3(trace: Trace, checkpoint: Checkpoint, tolerance: float) -> LawResult:
    """The sum of a layer's input and its sublayers' outputs equals its output; sums are normed if the layer norms them.

    Needs `input` and all outputs.
    """
    found: list[SiteDifference] = []
    for layer in watched_layers(trace):
        kind, stream = trace.spec.layers[layer], trace.site(layer_site(layer, "input"))
        for sublayer in SUBLAYERS:
            stream = stream + trace.site(layer_site(layer, f"{sublayer}.output"))
            if kind.norms_sum:
                name = layer_site(layer, f"{sublayer}_sum")
                stream = norm_weights(checkpoint.weights, name, kind.norm, trace.spec.d_model)(stream)
        site = layer_site(layer, "output")
        found.append(site_difference(stream, trace.site(site), tolerance, site, trace.pieces))
    return law_result(3, SUMS, tolerance, found, trace.n_fed)


def law_4(
    trace: Trace,
    readout: Readout,
    tolerance: float,
    questions: Sequence[Question] = (),
    name_token: Callable[[int], str] = "id {}".format,
) -> LawResult:
    """Direct attributions of the embedding, all sublayers and biases sum to the logit difference, before a soft cap.

    The error is relative to the largest logit. Needs `input` of the first layer, `output` of the last,
    the outputs of all sublayers, and the logits.

    Args:
        questions: Differences of logits. The default is the top-1 token after the last token, minus the least probable
            token and minus the mean.
        name_token: The name of a vocabulary token in the result.
    """
    norming = next((layer for layer, kind in enumerate(trace.spec.layers) if kind.norms_sum), None)
    if norming is not None:
        why = f"layer {norming} norms the sum after each sublayer, so logits are not sums of contributions"
        return skipped_law(4, ATTRIBUTIONS, tolerance, why, trace.n_fed)
    logits, last = before_cap(trace), trace.site(layer_site(trace.spec.n_layers - 1, "output"))
    components, largest, found = _components(trace), max(float(np.abs(logits).max()), 1e-6), []
    for target, baseline in questions or list(_questions(logits)):
        reading = readout.frozen(last, target, baseline)
        got = direct_logit_attribution(components, reading).sum(axis=0, dtype=np.float64) + reading.constant
        off = np.abs(got - logit_difference(logits, target, baseline)) / largest
        token = int(np.nan_to_num(off, nan=np.inf).argmax())
        subtracted = "the mean of all logits" if baseline is None else f"that of {name_token(baseline)}"
        where = f"logit of {name_token(target)} minus {subtracted}, token {token} {quote_piece(trace.pieces[token])}"
        found.append(SiteDifference(float(off.max()), where))
    return law_result(4, ATTRIBUTIONS, tolerance, found, trace.n_fed)


def before_cap(trace: Trace) -> Float64[np.ndarray, "token vocab"]:
    """The engine's logits before the soft cap."""
    logits = trace.site(LOGITS).astype(np.float64)
    match trace.spec.logit_cap:
        case NoCap():
            return logits
        case SoftCap(limit):
            return np.asarray(limit * np.arctanh(logits / limit))


def logit_difference(
    logits: Float64[np.ndarray, "token vocab"], target: int, baseline: int | None
) -> Float64[np.ndarray, " token"]:
    """The logit difference that direct attributions sum to, at every token."""
    return np.asarray(logits[:, target] - (logits.mean(-1) if baseline is None else logits[:, baseline]))


def _questions(logits: Float64[np.ndarray, "token vocab"]) -> Iterator[Question]:
    top1, least_probable = int(logits[-1].argmax()), int(logits[-1].argmin())
    yield top1, least_probable
    yield top1, None


def _components(trace: Trace) -> Float32[np.ndarray, "component token model"]:
    """The contributions of the embedding and of every sublayer to the residual stream."""
    parts = [layer_site(layer, f"{part}.output") for layer in range(trace.spec.n_layers) for part in SUBLAYERS]
    return np.stack([trace.site(site) for site in (layer_site(0, "input"), *parts)])
