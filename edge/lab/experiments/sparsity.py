"""F6: the activation sparsity of the FFN by all common definitions."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from edge.lab.claim import Experiment, Finding, Number, layer_curve, shared_passage_only
from edge.lab.context import LabContext
from edge.lab.effect import Effect, effect_of
from edge.lab.experiments.ffn_activations import ACTIVE, neurons_after_first, neurons_rms
from edge.lab.prompts import SEED
from edge.lab.sample import SHARE, block_means, evenly_spaced, mean_interval
from edge.measure import sparsity
from edge.measure.activation_counts import NeuronCounts, dead_share, hot_neuron_share
from edge.measure.registry import INDEX, MEASURES
from edge.picture.units import show_share
from edge.readout import open_output_projection

MOSTLY = 0.5
"""Share of inactive neurons above which most neurons are inactive. Li et al. 2022: 97% in T5, 94% in a ViT."""

INACTIVE = 0.01
"""A neuron counts as inactive if its magnitude is below this many times its layer's root mean square.

Not all activation functions have exact zeros. A Gaussian vector has 0.8% below this: small values do not count.
"""

MAX_LAYERS = 8
"""Layers that are measured, evenly spaced if a decoder has more."""

MAX_TOKENS = 512
"""Tokens whose neurons are sorted, evenly spaced over the passage."""

BLOCK = 16
"""Consecutive tokens that form one unit of the sample."""

TOP_P = 0.9
TOP_K_SHARE = 0.1
CETT_TARGET = 0.2
HOT = 0.8

CETT_TOKENS = 128
"""Tokens for CETT, evenly spaced over the passage. Its threshold is found by bisection with the down projection."""

GAUSSIAN_TOKENS = 128

Neurons = Float32[np.ndarray, "token neuron"]


@dataclass(frozen=True)
class Definition:
    """One definition of sparsity.

    Attributes:
        of: One number for each token, from neurons in units of their layer's root mean square.
        unit: `share` of neurons or of their sum, or `ratio` for an index from 0 to 1.
    """

    key: str
    label: str
    of: Callable[[Neurons], Float32[np.ndarray, " token"]]
    unit: str = "share"


def _energy_of_a_tenth(a: Neurons) -> Float32[np.ndarray, " token"]:
    return sparsity.top_k_energy(a, max(1, round(TOP_K_SHARE * a.shape[-1])))


def _participation_share(a: Neurons) -> Float32[np.ndarray, " token"]:
    return np.asarray(sparsity.participation_ratio(a) / np.float32(a.shape[-1]), np.float32)


PER_TOKEN = (
    *(
        Definition(one.key, f"{one.title} ({one.meanings[0]})", one.of, "ratio" if one.unit is INDEX else "share")
        for one in MEASURES
    ),
    Definition(
        "inactive_share",
        f"inactive neurons: below {INACTIVE:g} of the layer's rms",
        lambda a: sparsity.below_share(a, INACTIVE),
    ),
    Definition(
        "below_share", f"neurons below {ACTIVE:g} of the layer's rms", lambda a: sparsity.below_share(a, ACTIVE)
    ),
    Definition("top_k_energy", f"share of Σa² in the strongest {TOP_K_SHARE:.0%} of neurons", _energy_of_a_tenth),
    Definition("participation_share", "participation ratio / number of neurons", _participation_share),
)
"""The measures of the registry, and other measures for comparison."""

_UNITS = {definition.key: definition.unit for definition in PER_TOKEN}

OVER_TOKENS = (
    ("cett_sparsity", f"neurons that can be dropped at a relative output error (CETT) of {CETT_TARGET:g}"),
    ("hot_neuron_share", f"neurons that have {HOT:.0%} of all activations (hot neurons)"),
    ("dead_share", "dead neurons: active at fewer than 0.1% of tokens"),
)

OF_EXPERTS = {
    "not_chosen_share": "neurons of experts that a token does not choose",
    "exact_zero_share_of_chosen": "exact zeros among the neurons of chosen and shared experts",
}

Shares = dict[str, float]


@dataclass(frozen=True)
class Layer:
    """The sparsity of one layer by every definition.

    Attributes:
        shares: Means over tokens, by key.
        inactive: The share of inactive neurons, for each measured token.
    """

    shares: Shares
    inactive: Float32[np.ndarray, " token"]


def measured(blocks: Iterable[Neurons], tokens: int, values: Float32[np.ndarray, "neuron model"]) -> Layer:
    """Every definition for one layer, over blocks that have `tokens` tokens in total."""
    counts = NeuronCounts.empty([len(values)], threshold=ACTIVE)
    found: dict[str, list[np.ndarray]] = {definition.key: [] for definition in PER_TOKEN}
    kept, every, sorted_every = [], max(1, -(-tokens // CETT_TOKENS)), max(1, -(-tokens // MAX_TOKENS))
    for rows in blocks:
        for definition in PER_TOKEN:
            found[definition.key].append(definition.of(rows[::sorted_every]))
        counts.add(0, rows)
        kept.append(rows[::every])
    joined = {key: np.concatenate(parts) for key, parts in found.items()}
    cett = sparsity.cett_sparsity(np.concatenate(kept), values, CETT_TARGET)
    shares = {key: float(part.mean(dtype=np.float64)) for key, part in joined.items()} | {
        "cett_sparsity": float(cett.share.mean(dtype=np.float64)),
        "hot_neuron_share": float(hot_neuron_share(counts.active[0], HOT)),
        "dead_share": float(dead_share(counts.active[0][None], counts.tokens)[0]),
    }
    return Layer(shares, joined["inactive_share"])


def layer_shares(lab: LabContext, layer: int) -> tuple[Layer, Layer]:
    """One layer over the passage, and Gaussian vectors of the same size as baseline."""
    values = np.ascontiguousarray(open_output_projection(lab.model.checkpoint, layer, "ffn").matrix.T)
    rms = np.float32(neurons_rms(lab, layer))
    tokens = sum(len(ids) - 1 for ids in lab.window_ids)
    random = np.random.default_rng([SEED, layer])
    gaussian = random.standard_normal((GAUSSIAN_TOKENS, len(values)), np.float32)
    own = measured((rows / rms for rows in neurons_after_first(lab, layer)), tokens, values)
    return own, measured((gaussian,), len(gaussian), values)


def effects(
    inactive: Float64[np.ndarray, "layer token"], used: Float64[np.ndarray, " layer"], gaussian: float
) -> tuple[Effect, ...]:
    """The share of inactive neurons at a token; a unit of the sample is a block of tokens.

    In a mixture, most neurons are inactive since the token does not choose their expert. So the second effect counts
    only the neurons that the token can use.
    """

    def effect(key: str, label: str, shares: Float64[np.ndarray, " token"]) -> Effect:
        return effect_of(
            mean_interval(block_means(shares, BLOCK), SHARE),
            key=key,
            label=label,
            unit="share",
            threshold=MOSTLY,
            threshold_reason=f"half: most neurons are inactive; a Gaussian vector has {show_share(gaussian)}",
            sample_unit=f"blocks of {BLOCK} tokens",
        )

    of_all = effect("inactive_share", "share of inactive neurons at a token", inactive.mean(axis=0))
    if (used == 1).all():
        return (of_all,)
    of_chosen = 1 - (1 - inactive).mean(axis=0) / used.mean()
    label = "share of inactive neurons in the experts that a token chooses"
    return of_all, effect("inactive_share_of_chosen", label, of_chosen)


def _of_experts(used: Float64[np.ndarray, " layer"], found: list[Layer]) -> dict[str, float]:
    """Neurons of experts that a token does not choose, and zeros among the others; empty without mixtures."""
    if (used == 1).all():
        return {}
    active = np.array([1 - layer.shares["exact_zero_share"] for layer in found])
    return {
        "not_chosen_share": float(1 - used.mean()),
        "exact_zero_share_of_chosen": float(1 - active.sum() / used.sum()),
    }


def used_share(lab: LabContext, layers: list[int]) -> Float64[np.ndarray, " layer"]:
    """The share of each layer's neurons that one token can use: 1 for a dense FFN."""
    return np.array([lab.spec.layers[layer].ffn.d_used / lab.spec.layers[layer].ffn.d_ff for layer in layers])


def _summary(mean: Shares, chance: Shares, experts: Shares) -> str:
    zeros, droppable = mean["exact_zero_share"], mean["top_p_sparsity"]
    not_chosen = ""
    if experts:
        not_chosen = (
            f" ({show_share(experts['not_chosen_share'])} of all are in experts that the token does not choose; of "
            f"those in chosen experts, {show_share(experts['exact_zero_share_of_chosen'])} are exactly 0)"
        )
    return (
        f"At a token, {show_share(zeros)} of neurons are exactly 0{not_chosen}, "
        f"{show_share(mean['inactive_share'])} are below "
        f"{INACTIVE:g} of their layer's rms, and {show_share(mean['below_share'])} are below {ACTIVE:g} of it. "
        f"{show_share(droppable)} can be dropped if {TOP_P:.0%} of Σ|a| is kept (Gaussian vector: "
        f"{show_share(chance['top_p_sparsity'])}). {show_share(mean['hot_neuron_share'])} of neurons account for "
        f"{HOT:.0%} of all activations. Values by different definitions are not comparable."
    )


def _measure(lab: LabContext) -> Finding:
    layers = evenly_spaced(lab.spec.n_layers, MAX_LAYERS)
    found = [layer_shares(lab, layer) for layer in layers]
    named = [*((definition.key, definition.label) for definition in PER_TOKEN), *OVER_TOKENS]
    mean, chance = (
        {key: float(np.mean([one[side].shares[key] for one in found])) for key, _ in named} for side in (0, 1)
    )
    used = used_share(lab, layers)
    experts = _of_experts(used, [own for own, _ in found])
    lines = {key.replace("_", " "): [own.shares[key] for own, _ in found] for key, _ in named}
    return Finding(
        _summary(mean, chance, experts),
        effects(np.array([own.inactive for own, _ in found], np.float64), used, chance["inactive_share"]),
        (
            *(Number(key, means, mean[key], _UNITS.get(key, "share"), chance[key]) for key, means in named),
            *(Number(key, OF_EXPERTS[key], share, "share") for key, share in experts.items()),
        ),
        (layer_curve("sparsity by definition", "share", lines, layers),),
    )


EXPERIMENT = Experiment(
    key="F6",
    title="Activations are sparse",
    question="What share of an FFN's neurons is inactive at a token, or contributes little?",
    method=(
        f"a are the n neurons that enter the down projection, at up to {MAX_TOKENS} tokens of the passage. In a "
        "mixture, n counts all experts: neurons of experts that a token does not choose are 0. The first "
        f"token of each window is left out. All shares are means over tokens and over at most {MAX_LAYERS} layers; rms "
        "is the layer's root mean square over the passage. Exact zeros: mean(a == 0). Inactive: mean(|a| < "
        f"{INACTIVE:g} rms). Small: mean(|a| < {ACTIVE:g} rms). Top-p: 1 - k/n with k the fewest neurons that keep "
        f"{TOP_P:.0%} of Σ|a|. Energy: Σa² of the strongest {TOP_K_SHARE:.0%} of neurons, over Σa². Hoyer and Gini "
        "indices. Participation: (Σa²)² / Σa⁴ / n. CETT: neurons that can be dropped at a relative output error of "
        f"{CETT_TARGET:g}, over {CETT_TOKENS} tokens. Hot: the fewest neurons of a layer with {HOT:.0%} of all "
        f"activations, |a| > {ACTIVE:g} rms. Dead: active at fewer than 0.1% of tokens. Baseline of each: Gaussian "
        "vectors of the same size."
    ),
    rule=f"At a token, more than {MOSTLY:.0%} of neurons are inactive: exactly 0, or below {INACTIVE:g} of their "
    "layer's rms. In a mixture, this is also true of the neurons in chosen and shared experts alone.",
    source=(
        "Li et al. 2022 (arXiv 2210.06313); Szatkowski et al. 2025 (2509.00454); Zhang et al. 2024, CETT (2402.03804); "
        "Hurley & Rickard 2009 (0811.4706); Song et al. 2023, PowerInfer (2312.12456)"
    ),
    cost_tokens=shared_passage_only,
    measure=_measure,
)
