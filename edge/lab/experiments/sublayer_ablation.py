"""S2: loss, copying and factual recall with FFNs or attention ablated in one layer or in all layers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from edge.change import Edit
from edge.compare.tokenized_text import Window
from edge.edits import Ablate
from edge.lab.claim import Experiment, Finding, Number, layer_curve
from edge.lab.context import KnownFact, LabContext
from edge.lab.effect import Effect, effect_of
from edge.lab.sample import block_means, evenly_spaced, mean_interval
from models.sites import layer_site

READ_WINDOWS = 2
"""Windows of the passage for each loss, evenly spaced."""

SEQUENCES, LIST_TOKENS, TIMES = 4, 25, 4  # Olsson et al. 2022, p. 60

MAX_LAYERS = 8
"""Layers that are ablated one at a time, evenly spaced if a decoder has more."""

FEW_TOKENS, FEW_FACTS = 128, 8
"""Tokens of one window, and known facts, that are measured for each layer."""

WORSE_NATS = 0.5
"""Increase of the loss; perplexity increases by 65%. Our own choice, no paper sets it."""

BLOCK = 32
"""Consecutive tokens that form one unit of the sample."""

SUBLAYERS = ("ffn", "attn")

Values = Float64[np.ndarray, " unit"]


@dataclass(frozen=True)
class Sample:
    """The inputs that are measured with sublayers ablated."""

    windows: tuple[Window, ...]
    lists: tuple[tuple[int, ...], ...]
    known: tuple[KnownFact, ...]

    @property
    def tokens(self) -> int:
        """Number of tokens of all inputs."""
        ids = (*(window.ids for window in self.windows), *self.lists, *(known.ids for known in self.known))
        return sum(map(len, ids))


def whole_sample(lab: LabContext) -> Sample:
    """The inputs for ablation in all layers: windows from the beginning to the end of the passage."""
    windows = tuple(lab.windows[place] for place in evenly_spaced(len(lab.windows), READ_WINDOWS))
    return Sample(windows, tuple(map(tuple, lab.repeats(SEQUENCES, LIST_TOKENS, TIMES))), lab.known_facts)


def small_sample(lab: LabContext) -> Sample:
    """The inputs for ablation in one layer, a part of the whole sample."""
    whole = whole_sample(lab)
    first = whole.windows[0]
    cut = Window(first.ids[:FEW_TOKENS], first.targets[:FEW_TOKENS])
    return Sample((cut,), whole.lists[:1], whole.known[:FEW_FACTS])


Measure = Callable[[LabContext, Sample, Sequence[Edit]], Values]
"""One value for each unit of the sample, with edits."""


@dataclass(frozen=True)
class Ablations:
    """One measure with nothing ablated, and with sublayers ablated; `sublayer` is FFN, then attention.

    Attributes:
        intact: Nothing ablated, for each unit of the whole sample.
        without: One kind of sublayer ablated in all layers, for each unit of the whole sample.
        without_both: All sublayers ablated, so that the token embedding is the input of the unembedding.
        few: Nothing ablated, mean over the small sample.
        by_layer: One sublayer of one layer ablated, mean over the small sample.
    """

    intact: Values
    without: Float64[np.ndarray, "sublayer unit"]
    without_both: Values
    few: float
    by_layer: Float64[np.ndarray, "layer sublayer"]

    @property
    def whole(self) -> float:
        """The mean with nothing ablated."""
        return _mean(self.intact)

    @property
    def left(self) -> list[float]:
        """The mean with each kind of sublayer ablated in all layers."""
        return [_mean(values) for values in self.without]

    @property
    def without_one(self) -> Float64[np.ndarray, " sublayer"]:
        """One sublayer of one layer ablated, mean over layers."""
        return np.asarray(self.by_layer.mean(axis=0))


def _mean(values: Values) -> float:
    return float(values.mean()) if len(values) else float("nan")


def ablated(layers: Sequence[int], sublayers: Sequence[str]) -> list[Edit]:
    """Edits that ablate sublayers of layers."""
    return [Ablate(layer_site(layer, sublayer)) for layer in layers for sublayer in sublayers]


def loss_nats(lab: LabContext, sample: Sample, edits: Sequence[Edit]) -> Values:
    """The loss of each next token of the passage."""
    return lab.token_losses_nats(sample.windows, edits)


def copied(lab: LabContext, sample: Sample, edits: Sequence[Edit]) -> Values:
    """Whether the top-1 token is correct on repeated random tokens; empty if the context has no room for them.

    The first token of each copy is left out, because it is not predictable.
    """
    correct: list[bool] = []
    begin = len(lab.start_tokens)
    for ids in sample.lists:
        listed = (len(ids) - begin) // TIMES
        predicted = np.roll(lab.logits(ids, edits).argmax(axis=-1), 1)
        place = np.arange(len(ids)) - begin
        correct += ((predicted == ids)[(place > listed) & (place % max(1, listed) > 0)]).tolist()
    return np.array(correct, np.float64)


def recalled(lab: LabContext, sample: Sample, edits: Sequence[Edit]) -> Values:
    """Whether the model still answers each fact that it knows."""
    return np.array([lab.top_token(known.ids, edits) == known.answer for known in sample.known], np.float64)


def table(lab: LabContext, of: Measure) -> Ablations:
    """One measure with different sublayers ablated."""
    whole, small, layers = whole_sample(lab), small_sample(lab), range(lab.spec.n_layers)
    by_layer = [
        [_mean(of(lab, small, ablated([layer], [sublayer]))) for sublayer in SUBLAYERS]
        for layer in evenly_spaced(len(layers), MAX_LAYERS)
    ]
    return Ablations(
        intact=of(lab, whole, ()),
        without=np.array([of(lab, whole, ablated(layers, [sublayer])) for sublayer in SUBLAYERS]),
        without_both=of(lab, whole, ablated(layers, SUBLAYERS)),
        few=_mean(of(lab, small, ())),
        by_layer=np.array(by_layer),
    )


def loss_table(lab: LabContext) -> Ablations:
    """Cross-entropy of the next token, in nats."""
    return table(lab, loss_nats)


def effects(loss: Ablations) -> tuple[Effect, ...]:
    """Increase of the loss without each kind of sublayer, paired by token; the units are blocks of tokens."""
    neither = _mean(loss.without_both) - loss.whole
    return tuple(
        effect_of(
            mean_interval(block_means(values - loss.intact, BLOCK)),
            key=f"loss_increase_without_{key}",
            label=f"increase of the loss with {all_of} ablated",
            unit="nats",
            threshold=WORSE_NATS,
            threshold_reason="our own choice, perplexity increases by 65%; with both ablated the increase is "
            f"{neither:.2f} nats",
            sample_unit=f"blocks of {BLOCK} tokens",
        )
        for key, all_of, values in zip(("ffns", "attention"), ("all FFNs", "all attention"), loss.without, strict=True)
    )


def numbers(loss: Ablations, copies: Ablations, recalls: Ablations, vocab_size: int) -> tuple[Number, ...]:
    """Each measure with ablation; the baseline is the intact model, and for the intact model uniform probabilities."""
    uniform = float(np.log(vocab_size))
    made = [
        Number("loss_nats", "loss", loss.whole, "nats", uniform),
        Number("copied_share", "repeated tokens predicted", copies.whole, "share", 1 / vocab_size),
    ]
    for table, name, end, unit in (
        (loss, "loss", "_nats", "nats"),
        (copies, "copied", "", "share"),
        (recalls, "recalled", "", "share"),
    ):
        label = {"loss": "loss", "copied": "repeated tokens predicted", "recalled": "facts recalled"}[name]
        for place, (word, kind) in enumerate((("ffn", "FFN"), ("attention", "attention"))):
            every, one = table.left[place], float(table.without_one[place])
            many, all_of = ("ffns", "all FFNs") if word == "ffn" else (word, "all attention")
            made += [
                Number(f"{name}_without_{many}{end}", f"{label}, {all_of} ablated", every, unit, table.whole),
                Number(
                    f"{name}_without_one_{word}{end}",
                    f"{label}, {kind} of one layer ablated, mean over layers (small sample)",
                    one,
                    unit,
                    table.few,
                ),
            ]
        made.append(
            Number(f"{name}_without_both{end}", f"{label}, all sublayers ablated", _mean(table.without_both), unit)
        )
    return tuple(made)


def left(table: Ablations) -> str:
    """The shares without FFNs and without attention, as part of a sentence."""
    return " and ".join("an unknown share" if share != share else f"{share:.0%}" for share in table.left)


def measure(lab: LabContext) -> Finding:
    loss, copies, recalls = (table(lab, of) for of in (loss_nats, copied, recalled))
    layers = evenly_spaced(lab.spec.n_layers, MAX_LAYERS)
    ffns, attention = loss.left
    return Finding(
        f"The loss is {loss.whole:.2f} nats; {ffns:.2f} nats with all FFNs ablated, {attention:.2f} nats with all "
        f"attention ablated, and {_mean(loss.without_both):.2f} nats with both ablated. The intact model predicts "
        f"{copies.whole:.0%} of repeated tokens. With all FFNs ablated and with all attention ablated, it predicts "
        f"{left(copies)} of them, and recalls {left(recalls)} of {len(lab.known_facts)} known facts. A model that is "
        "trained without FFNs or without attention might be better than an ablated one.",
        effects(loss),
        numbers(loss, copies, recalls, lab.spec.vocab_size),
        curves=(
            layer_curve(
                "loss, one sublayer ablated",
                "nats",
                {
                    "FFN ablated": loss.by_layer[:, 0],
                    "attention ablated": loss.by_layer[:, 1],
                    "nothing ablated": [loss.few] * len(layers),
                },
                layers,
            ),
            layer_curve(
                "facts recalled, one sublayer ablated",
                "share of known facts",
                {"FFN ablated": recalls.by_layer[:, 0], "attention ablated": recalls.by_layer[:, 1]},
                layers,
            ),
        ),
    )


def cost_tokens(lab: LabContext) -> int:
    single = 2 * len(evenly_spaced(lab.spec.n_layers, MAX_LAYERS)) + 1
    return 4 * whole_sample(lab).tokens + single * small_sample(lab).tokens


EXPERIMENT = Experiment(
    key="S2",
    title="Neither attention nor the FFN is enough alone",
    question="How well does a model predict text, copy and recall facts with all FFNs, or all attention, ablated?",
    method=f"The output of all FFNs, or of all attention, is set to 0. Measured are the loss on {READ_WINDOWS} windows "
    f"of the passage, the share of correct top-1 tokens on {LIST_TOKENS} random tokens, repeated {TIMES} times, and "
    "the share of known facts that are still recalled. Baseline: the intact model; for its own loss, uniform "
    "probabilities, ln(vocabulary). The same is measured with one sublayer of one layer ablated, for at most "
    f"{MAX_LAYERS} layers, on a small sample: {FEW_TOKENS} tokens, one list and {FEW_FACTS} facts. Ablation overstates "
    "the role of a sublayer: the other sublayers get inputs that do not occur in training.",
    rule=f"With all FFNs ablated, and with all attention ablated, the loss is more than {WORSE_NATS:g} nats higher "
    "than that of the intact model.",
    source="Meng et al. 2022, arXiv 2202.05262, and Geva et al. 2023, arXiv 2304.14767 (attention knockout); Olsson et "
    "al. 2022, arXiv 2209.11895, p. 60 (repeats)",
    cost_tokens=cost_tokens,
    measure=measure,
)
