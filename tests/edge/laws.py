"""Laws 1, 4 and 6 as checks of any model: tiny ones of every family, the twins, a real checkpoint."""

from collections.abc import Mapping

import numpy as np

import edge
from edge.measure.attribution import direct_logit_attribution
from edge.readout import Readout
from edge.session import Model
from edge.trace import Trace
from edge.watch import Watch
from models.sites import layer_site
from models.spec import NoCap, Norm, RMSNorm, SoftCap
from tests.tiny import tiny_checkpoint

CLOSE = 5e-5
"""Largest difference between two float32 engines, relative to the largest value of a site."""

QUESTIONS: tuple[tuple[int, int | None], ...] = ((17, 4), (0, 69), (33, None))
"""A target, and what its logit is compared with; None is the mean of all logits."""


ENGINES = ("torch", "onnx", "mlx")
PROMPT = [3, 1, 41, 59, 26, 5, 35, 8, 9, 7]


def tiny_model(name: str, engine: str) -> Model:
    """One of `TINY_SPECS` with random weights, on one engine."""
    return Model(tiny_checkpoint(name), engine, None, lambda _: None)


def off_by(got: np.ndarray, want: np.ndarray) -> float:
    """The largest difference, relative to the largest value."""
    return float(np.abs(got - want).max() / max(1e-6, float(np.abs(want).max())))


def normed(norm: Norm, x: np.ndarray, weights: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """A norm by its definition."""
    if isinstance(norm, RMSNorm):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + norm.eps) * weights[f"{name}.weight"]
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + norm.eps)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def check_law_1(trace: Trace, weights: Mapping[str, np.ndarray], close: float = CLOSE) -> None:
    """pattern · value · W_O, plus its bias and normed where the layer norms it, equals the captured attn.output."""
    spec = trace.spec
    for layer in range(spec.n_layers):
        values = trace.site(f"layers.{layer}.attn.value")
        heads = [trace.pattern(layer, head) @ values[:, head // spec.sharing] for head in range(spec.n_heads)]
        worst = off_by(np.stack(heads, axis=1), trace.site(f"layers.{layer}.attn.heads"))
        assert worst < close, f"{trace.engine}: the maps of layer {layer} are not what heads read, off by {worst:.2g}"
        output = np.concatenate(heads, axis=-1) @ np.asarray(weights[f"layers.{layer}.attn.out.weight"]).T
        if f"layers.{layer}.attn.out.bias" in weights:
            output = output + weights[f"layers.{layer}.attn.out.bias"]
        if spec.layers[layer].norms_after:
            output = normed(spec.layers[layer].norm, output, weights, f"layers.{layer}.attn.after")
        worst = off_by(output, trace.site(f"layers.{layer}.attn.output"))
        assert worst < close, f"{trace.engine}: the maps of layer {layer} do not give attn.output, off by {worst:.2g}"


def before_cap(trace: Trace) -> np.ndarray:
    """The engine's logits as they were before they were bounded."""
    logits = trace.site("logits").astype(np.float64)
    match trace.spec.logit_cap:
        case NoCap():
            return logits
        case SoftCap(limit):
            return limit * np.arctanh(logits / limit)


def difference(logits: np.ndarray, target: int, baseline: int | None) -> np.ndarray:
    """What a direct attribution accounts for, at every token."""
    return logits[:, target] - (logits.mean(-1) if baseline is None else logits[:, baseline])


def components_of(trace: Trace) -> np.ndarray:
    """What the embedding and every sublayer added to the residual stream."""
    parts = [f"layers.{layer}.{part}.output" for layer in range(trace.spec.n_layers) for part in ("attn", "ffn")]
    return np.stack([trace.site(site) for site in ("layers.0.input", *parts)])


def check_law_4(trace: Trace, readout: Readout, close: float = CLOSE) -> None:
    """Direct attributions of the embedding, all sublayers and biases sum to the logit difference."""
    logits, last = before_cap(trace), trace.site(f"layers.{trace.spec.n_layers - 1}.output")
    for target, baseline in QUESTIONS:
        reading = readout.frozen(last, target, baseline)
        got = direct_logit_attribution(components_of(trace), reading).sum(axis=0, dtype=np.float64) + reading.constant
        worst = float(np.abs(got - difference(logits, target, baseline)).max() / np.abs(logits).max())
        assert worst < close, (
            f"{trace.engine}: direct attributions do not sum to logit {target} less {baseline}, off by {worst:.2g}"
        )


def check_law_6(model: Model, ids: list[int], close: float = CLOSE) -> None:
    """With its input in another order an FFN writes the same rows in that order; attention does not."""
    tokens = tuple(range(len(ids)))
    order = list(reversed(tokens))
    for layer in {0, model.spec.n_layers - 1}:
        place, silent = layer_site(layer, "input"), edge.Silence(f"layers.{layer}.attn")

        def wrote(part: str, edits: list[edge.edits.Edit], layer: int = layer) -> np.ndarray:
            watch = Watch(parts=("input", part), layers=(layer,))
            return model.run(ids=ids, max_new_tokens=0, watch=watch, edits=edits).site(layer_site(layer, part))

        turned = edge.Replace(place, tokens, wrote("input", [])[order])
        before, after = wrote("ffn.output", [silent]), wrote("ffn.output", [silent, turned])
        worst = off_by(after, before[order])
        assert worst < close, f"{model.engine}: the FFN of layer {layer} is not position-wise, off by {worst:.2g}"
        moved = off_by(wrote("attn.output", [turned]), wrote("attn.output", [])[order])
        assert moved > 100 * close, f"{model.engine}: attention of layer {layer} did not notice another order"
