"""S2: what is left without FFNs and without attention, one layer at a time and all together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from edge.compare.passage import Window
from edge.edits import Edit, Silence
from edge.lab.claim import Experiment, Finding, Number, Verdict, layer_curve
from edge.lab.subject import Subject
from models.sites import layer_site

READ_WINDOWS = 2
"""Passes over the passage for each loss, spread evenly over it."""

SEQUENCES, LIST_TOKENS, TIMES = 4, 25, 4  # Olsson et al. 2022, p. 60

WORSE_NATS = 0.5
"""A loss that is higher by this much is clearly worse: perplexity rises by two thirds. Our own choice."""

SUBLAYERS = ("ffn", "attn")


@dataclass(frozen=True)
class Knockouts:
    """One measure with nothing silenced, and with sublayers silenced; `sublayer` is FFN, then attention.

    Attributes:
        by_layer: Without one sublayer of one layer.
        without: Without one kind of sublayer in all layers.
        without_both: Without any sublayer: the embedding is all that reaches the head.
    """

    intact: float
    by_layer: Float64[np.ndarray, "layer sublayer"]
    without: Float64[np.ndarray, " sublayer"]
    without_both: float

    @property
    def without_one(self) -> Float64[np.ndarray, " sublayer"]:
        """The mean over layers."""
        return np.asarray(self.by_layer.mean(axis=0))


def silenced(layers: Sequence[int], sublayers: Sequence[str]) -> list[Edit]:
    """Edits that silence some sublayers of some layers."""
    return [Silence(layer_site(layer, sublayer)) for layer in layers for sublayer in sublayers]


def read_windows(subject: Subject) -> list[Window]:
    """The part of the passage that is read for losses: windows from its beginning to its end."""
    places = np.linspace(0, len(subject.passes) - 1, min(READ_WINDOWS, len(subject.passes)))
    return [subject.passes[round(place)] for place in places.tolist()]


def loss_nats(subject: Subject, edits: Sequence[Edit]) -> float:
    """What a next token of the passage costs on average."""
    return float(subject.costs_nats(read_windows(subject), edits).mean())


def copied_share(subject: Subject, edits: Sequence[Edit]) -> float:
    """How often the likeliest token is right where random tokens come again; NaN where a context has no room for it.

    The first of each round is left out: nothing says which token comes after the last.
    """
    right: list[bool] = []
    begin = len(subject.begin)
    for ids in subject.repeats(SEQUENCES, LIST_TOKENS, TIMES):
        listed = (len(ids) - begin) // TIMES
        foretold = np.roll(subject.logits(ids, edits).argmax(axis=-1), 1)
        place = np.arange(len(ids)) - begin
        right += ((foretold == ids)[(place > listed) & (place % max(1, listed) > 0)]).tolist()
    return float(np.mean(right)) if right else float("nan")


def recalled_share(subject: Subject, edits: Sequence[Edit]) -> float:
    """Of the facts that the model knows, how many it still answers; NaN where it knows none."""
    answers = [int(subject.logits(known.ids, edits)[-1].argmax()) == known.answer for known in subject.known]
    return float(np.mean(answers)) if answers else float("nan")


def table(subject: Subject, of: Callable[[Subject, Sequence[Edit]], float]) -> Knockouts:
    """One measure, again and again with other sublayers silenced."""
    layers = range(subject.spec.n_layers)
    by_layer = [[of(subject, silenced([layer], [sublayer])) for sublayer in SUBLAYERS] for layer in layers]
    without = [of(subject, silenced(layers, [sublayer])) for sublayer in SUBLAYERS]
    both = of(subject, silenced(layers, SUBLAYERS))
    return Knockouts(of(subject, ()), np.array(by_layer), np.array(without), both)


def loss_table(subject: Subject) -> Knockouts:
    """What a next token costs, in nats."""
    return table(subject, loss_nats)


def numbers(loss: Knockouts, copied: Knockouts, recalled: Knockouts, vocab_size: int) -> tuple[Number, ...]:
    """What is left, each beside what the whole model has; the whole model beside a guess."""
    uniform = float(np.log(vocab_size))
    made = [
        Number("loss_nats", "a next token's cost", loss.intact, "nats", uniform),
        Number("copied_share", "repeats foretold", copied.intact, "share", 1 / vocab_size),
    ]
    for table, name, end, unit in (
        (loss, "loss", "_nats", "nats"),
        (copied, "copied", "", "share"),
        (recalled, "recalled", "", "share"),
    ):
        for place, (word, kind) in enumerate((("ffn", "FFN"), ("attention", "attention"))):
            every, one = float(table.without[place]), float(table.without_one[place])
            many, all_of = ("ffns", "every FFN") if word == "ffn" else (word, "all attention")
            made += [
                Number(f"{name}_without_{many}{end}", f"{name}, {all_of} silenced", every, unit, table.intact),
                Number(
                    f"{name}_without_one_{word}{end}", f"{name}, {kind} of one layer silenced", one, unit, table.intact
                ),
            ]
        made.append(Number(f"{name}_without_both{end}", f"{name}, no sublayer at all", table.without_both, unit))
    return tuple(made)


def left(table: Knockouts) -> str:
    """What is left of a share without FFNs, and without attention."""
    return " and ".join("an unknown share" if share != share else f"{share:.0%}" for share in table.without.tolist())


def measure(subject: Subject) -> Finding:
    loss, copied, recalled = (table(subject, of) for of in (loss_nats, copied_share, recalled_share))
    layers = range(subject.spec.n_layers)
    ffns, attention = loss.without.tolist()
    worse = min(ffns, attention) > loss.intact + WORSE_NATS
    return Finding(
        Verdict.HOLDS if worse else Verdict.FAILS,
        f"A next token costs {loss.intact:.2f} nats; {ffns:.2f} with every FFN silenced, {attention:.2f} with all "
        f"attention silenced, {loss.without_both:.2f} with neither. Without FFNs and without attention, {left(copied)} "
        f"of repeats are foretold (of {copied.intact:.0%}) and {left(recalled)} of {len(subject.known)} known facts "
        "recalled. A model trained without one of them might do better than one that loses it.",
        numbers(loss, copied, recalled, subject.spec.vocab_size),
        curves=(
            layer_curve(
                "loss with one sublayer silenced",
                "nats",
                {
                    "FFN silenced": loss.by_layer[:, 0],
                    "attention silenced": loss.by_layer[:, 1],
                    "nothing silenced": [loss.intact] * len(layers),
                },
                layers,
            ),
            layer_curve(
                "facts recalled with one sublayer silenced",
                "share of known facts",
                {"FFN silenced": recalled.by_layer[:, 0], "attention silenced": recalled.by_layer[:, 1]},
                layers,
            ),
        ),
    )


def cost_tokens(subject: Subject) -> int:
    read = sum(len(window.ids) for window in read_windows(subject))
    repeated = sum(len(ids) for ids in subject.repeats(SEQUENCES, LIST_TOKENS, TIMES))
    asked = sum(len(known.ids) for known in subject.known)
    return (2 * subject.spec.n_layers + 4) * (read + repeated + asked)


EXPERIMENT = Experiment(
    key="S2",
    claim="neither suffices alone",
    asks="What is left of a model whose FFNs, or whose attention, add nothing to the residual stream?",
    how="The output of FFNs or of attention is set to 0, one layer at a time and in all layers, and three things are "
    f"measured: the mean cost of a next token on {READ_WINDOWS} windows of the passage; how often the likeliest token "
    f"is right on repeats of {LIST_TOKENS} random tokens, {TIMES} times over; and the known facts still answered. "
    "Each stands beside the whole model, whose loss stands beside a guess at random, ln(vocabulary). Other sublayers "
    "were trained beside those that are silenced and get inputs that they never saw: this overstates what a sublayer "
    "does.",
    rule=f"without FFNs, and without attention, a token costs over {WORSE_NATS:g} nats more than with both",
    source="Meng et al. 2022, arXiv 2202.05262, and Geva et al. 2023, arXiv 2304.14767 (knock-out); Olsson "
    "et al. 2022, arXiv 2209.11895, p. 60 (repeats)",
    cost_tokens=cost_tokens,
    measure=measure,
)
