"""S2: what is left without FFNs and without attention, one layer at a time and all together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from edge.compare.tokenized_text import Window
from edge.edits import Ablate, Edit
from edge.lab.claim import Experiment, Finding, Number, layer_curve
from edge.lab.context import KnownFact, LabContext
from edge.lab.effect import Effect, effect_of
from edge.lab.sample import block_means, evenly_spaced, mean_interval
from models.sites import layer_site

READ_WINDOWS = 2
"""Passes over the passage for each loss, spread evenly over it."""

SEQUENCES, LIST_TOKENS, TIMES = 4, 25, 4  # Olsson et al. 2022, p. 60

MAX_LAYERS = 8
"""Layers that are ablated one by one, spread evenly where a decoder has more."""

FEW_TOKENS, FEW_FACTS = 128, 8
"""Of one window, and of the known facts, that are tried again for each single layer."""

WORSE_NATS = 0.5
"""A loss that is higher by this much is clearly worse: perplexity rises by two thirds. Our own choice."""

BLOCK = 32
"""Neighboring tokens that make one unit of the sample."""

SUBLAYERS = ("ffn", "attn")

Values = Float64[np.ndarray, " unit"]


@dataclass(frozen=True)
class Sample:
    """What is tried with some sublayers ablated."""

    windows: tuple[Window, ...]
    lists: tuple[tuple[int, ...], ...]
    known: tuple[KnownFact, ...]

    @property
    def tokens(self) -> int:
        """Tokens of all of it."""
        ids = (*(window.ids for window in self.windows), *self.lists, *(known.ids for known in self.known))
        return sum(map(len, ids))


def whole_sample(lab: LabContext) -> Sample:
    """For sublayers ablated in all layers: windows from the passage's beginning to its end."""
    windows = tuple(lab.windows[place] for place in evenly_spaced(len(lab.windows), READ_WINDOWS))
    return Sample(windows, tuple(map(tuple, lab.repeats(SEQUENCES, LIST_TOKENS, TIMES))), lab.known_facts)


def small_sample(lab: LabContext) -> Sample:
    """For one sublayer of one layer: a part of the same."""
    whole = whole_sample(lab)
    first = whole.windows[0]
    cut = Window(first.ids[:FEW_TOKENS], first.targets[:FEW_TOKENS])
    return Sample((cut,), whole.lists[:1], whole.known[:FEW_FACTS])


Measure = Callable[[LabContext, Sample, Sequence[Edit]], Values]
"""One value a unit of the sample, with what edits change."""


@dataclass(frozen=True)
class Ablations:
    """One measure with nothing ablated, and with sublayers ablated; `sublayer` is FFN, then attention.

    Attributes:
        intact: With nothing ablated, unit by unit of the whole sample.
        without: Without one kind of sublayer in all layers, likewise.
        without_both: Without any sublayer: the embedding is all that reaches the head.
        few: With nothing ablated, the mean over the small sample.
        by_layer: Without one sublayer of one layer, likewise.
    """

    intact: Values
    without: Float64[np.ndarray, "sublayer unit"]
    without_both: Values
    few: float
    by_layer: Float64[np.ndarray, "layer sublayer"]

    @property
    def whole(self) -> float:
        """With nothing ablated."""
        return _mean(self.intact)

    @property
    def left(self) -> list[float]:
        """Without each kind of sublayer."""
        return [_mean(values) for values in self.without]

    @property
    def without_one(self) -> Float64[np.ndarray, " sublayer"]:
        """Without one sublayer of one layer, the mean over layers."""
        return np.asarray(self.by_layer.mean(axis=0))


def _mean(values: Values) -> float:
    return float(values.mean()) if len(values) else float("nan")


def ablated(layers: Sequence[int], sublayers: Sequence[str]) -> list[Edit]:
    """Edits that silence some sublayers of some layers."""
    return [Ablate(layer_site(layer, sublayer)) for layer in layers for sublayer in sublayers]


def loss_nats(lab: LabContext, sample: Sample, edits: Sequence[Edit]) -> Values:
    """What each next token of the passage costs."""
    return lab.token_losses_nats(sample.windows, edits)


def copied(lab: LabContext, sample: Sample, edits: Sequence[Edit]) -> Values:
    """Whether the likeliest token is right where random tokens come again; nothing where a context has no room for it.

    The first of each round is left out: nothing says which token comes after the last.
    """
    right: list[bool] = []
    begin = len(lab.start_tokens)
    for ids in sample.lists:
        listed = (len(ids) - begin) // TIMES
        predicted = np.roll(lab.logits(ids, edits).argmax(axis=-1), 1)
        place = np.arange(len(ids)) - begin
        right += ((predicted == ids)[(place > listed) & (place % max(1, listed) > 0)]).tolist()
    return np.array(right, np.float64)


def recalled(lab: LabContext, sample: Sample, edits: Sequence[Edit]) -> Values:
    """Of each fact that the model knows, whether it still answers it."""
    return np.array([lab.top_token(known.ids, edits) == known.answer for known in sample.known], np.float64)


def table(lab: LabContext, of: Measure) -> Ablations:
    """One measure, again and again with other sublayers ablated."""
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
    """What a next token costs, in nats."""
    return table(lab, loss_nats)


def effects(loss: Ablations) -> tuple[Effect, ...]:
    """What a token costs more without either kind of sublayer, paired token by token, over blocks of them."""
    neither = _mean(loss.without_both) - loss.whole
    return tuple(
        effect_of(
            mean_interval(block_means(values - loss.intact, BLOCK)),
            key=f"cost_without_{key}",
            label=f"what a next token costs more with {all_of} ablated",
            unit="nats",
            threshold=WORSE_NATS,
            threshold_reason="perplexity rises by two thirds, our own choice; with neither it costs "
            f"{neither:.2f} more",
            sample_unit=f"blocks of {BLOCK} tokens",
        )
        for key, all_of, values in zip(("ffns", "attention"), ("every FFN", "all attention"), loss.without, strict=True)
    )


def numbers(loss: Ablations, copies: Ablations, recalls: Ablations, vocab_size: int) -> tuple[Number, ...]:
    """What is left, each beside what the whole model has; the whole model beside a guess."""
    uniform = float(np.log(vocab_size))
    made = [
        Number("loss_nats", "a next token's cost", loss.whole, "nats", uniform),
        Number("copied_share", "repeats predicted", copies.whole, "share", 1 / vocab_size),
    ]
    for table, name, end, unit in (
        (loss, "loss", "_nats", "nats"),
        (copies, "copied", "", "share"),
        (recalls, "recalled", "", "share"),
    ):
        for place, (word, kind) in enumerate((("ffn", "FFN"), ("attention", "attention"))):
            every, one = table.left[place], float(table.without_one[place])
            many, all_of = ("ffns", "every FFN") if word == "ffn" else (word, "all attention")
            made += [
                Number(f"{name}_without_{many}{end}", f"{name}, {all_of} ablated", every, unit, table.whole),
                Number(f"{name}_without_one_{word}{end}", f"{name}, {kind} of one layer ablated", one, unit, table.few),
            ]
        made.append(Number(f"{name}_without_both{end}", f"{name}, no sublayer at all", _mean(table.without_both), unit))
    return tuple(made)


def left(table: Ablations) -> str:
    """What is left of a share without FFNs, and without attention."""
    return " and ".join("an unknown share" if share != share else f"{share:.0%}" for share in table.left)


def measure(lab: LabContext) -> Finding:
    loss, copies, recalls = (table(lab, of) for of in (loss_nats, copied, recalled))
    layers = evenly_spaced(lab.spec.n_layers, MAX_LAYERS)
    ffns, attention = loss.left
    return Finding(
        f"A next token costs {loss.whole:.2f} nats; {ffns:.2f} with every FFN ablated, {attention:.2f} with all "
        f"attention ablated, {_mean(loss.without_both):.2f} with neither. Without FFNs and without attention, "
        f"{left(copies)} of repeats are predicted (of {copies.whole:.0%}) and {left(recalls)} of "
        f"{len(lab.known_facts)} "
        "known facts recalled. A model trained without one of them might do better than one that loses it.",
        effects(loss),
        numbers(loss, copies, recalls, lab.spec.vocab_size),
        curves=(
            layer_curve(
                "loss with one sublayer ablated",
                "nats",
                {
                    "FFN ablated": loss.by_layer[:, 0],
                    "attention ablated": loss.by_layer[:, 1],
                    "nothing ablated": [loss.few] * len(layers),
                },
                layers,
            ),
            layer_curve(
                "facts recalled with one sublayer ablated",
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
    title="neither suffices alone",
    question="What is left of a model whose FFNs, or whose attention, add nothing to the residual stream?",
    method="The output of FFNs or of attention is set to 0 in all layers, and three things are measured: the cost of "
    f"each next token on {READ_WINDOWS} windows of the passage; how often the likeliest token is right on repeats of "
    f"{LIST_TOKENS} random tokens, {TIMES} times over; and the known facts still answered. Each stands beside the "
    "whole model, whose loss stands beside a guess at random, ln(vocabulary). The same again with one sublayer of one "
    f"layer ablated, for {MAX_LAYERS} layers at most, on {FEW_TOKENS} tokens, one list and {FEW_FACTS} facts. Other "
    "sublayers were trained beside those that are ablated and get inputs that they never saw: this overstates what a "
    "sublayer does.",
    rule=f"without FFNs, and without attention, a token costs over {WORSE_NATS:g} nats more than with both",
    source="Meng et al. 2022, arXiv 2202.05262, and Geva et al. 2023, arXiv 2304.14767 (knock-out); Olsson "
    "et al. 2022, arXiv 2209.11895, p. 60 (repeats)",
    cost_tokens=cost_tokens,
    measure=measure,
)
