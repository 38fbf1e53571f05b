"""Edits of a run: scale heads, neurons and experts, choose experts, ablate sublayers, replace sites, add noise.

Each becomes one `edge.change.Change` of one site. `str(edit)` is its name; `edge.ablated` parses names, so that a saved
trace knows what its edits ablated.
"""

import re
from dataclasses import dataclass
from math import prod

import numpy as np
from jaxtyping import Float

from edge.change import LARGEST, Change, Edit, Rows, Tokens, added, at, check_factor, check_index, scaled, scaling
from models.errors import MisuseError
from models.sites import HEADS, NEURONS, ROUTER, SCORES, SHARED_NEURONS, SUBLAYER_NAMES, SUBLAYERS, Site, layer_site
from models.spec import DecoderSpec, MoE

_SUBLAYER = re.compile(rf"layers\.(\d+)\.({'|'.join(SUBLAYERS)})")


@dataclass(frozen=True)
class ScaleHead:
    """Multiplies the output of one head (its weighted sum of values) by `factor`; 0 ablates it, the bias stays."""

    layer: int
    head: int
    factor: float
    tokens: Tokens = None

    @property
    def site(self) -> str:
        return layer_site(self.layer, HEADS)

    def check(self, site: Site) -> None:
        check_index("head", self.head, site.row_shape[0], self.layer)
        check_factor(self.factor)

    def change(self, site: Site, rows: Rows) -> Change:
        factors = np.ones((site.changed_shape[0], 1), np.float32)
        factors[self.head] = self.factor
        return scaled(factors, self.tokens, rows)

    def __str__(self) -> str:
        return f"head {self.layer}.{self.head}{scaling(self.factor)}{at(self.tokens)}"


@dataclass(frozen=True)
class ScaleNeuron:
    """Multiplies one neuron's activation by `factor`; 0 ablates the neuron.

    In a mixture of experts, neurons are numbered over all experts; those of the shared expert come last.
    """

    layer: int
    neuron: int
    factor: float
    tokens: Tokens = None

    @property
    def site(self) -> str:
        return layer_site(self.layer, NEURONS)

    def within(self, spec: DecoderSpec) -> Edit:
        """The same edit; that of a neuron of the shared expert if the number is beyond the neurons of other experts."""
        kind = spec.layers[self.layer].ffn if 0 <= self.layer < spec.n_layers else None
        if not isinstance(kind, MoE) or not 0 <= self.neuron - kind.d_routed < kind.d_shared:
            return self
        return _ScaleSharedNeuron(self.layer, self.neuron - kind.d_routed, self.factor, self.tokens)

    def check(self, site: Site) -> None:
        check_index("neuron", self.neuron, prod(site.changed_shape), self.layer)
        check_factor(self.factor)

    def change(self, site: Site, rows: Rows) -> Change:
        factors = np.ones(site.changed_shape, np.float32)
        factors.flat[self.neuron] = self.factor
        return scaled(factors, self.tokens, rows)

    def __str__(self) -> str:
        return f"neuron {self.layer}.{self.neuron}{scaling(self.factor)}{at(self.tokens)}"


@dataclass(frozen=True)
class _ScaleSharedNeuron(ScaleNeuron):
    """The same for a neuron of the shared expert, numbered within it."""

    @property
    def site(self) -> str:
        return layer_site(self.layer, SHARED_NEURONS)

    def within(self, spec: DecoderSpec) -> Edit:
        return self


@dataclass(frozen=True)
class ScaleExpert:
    """Multiplies the weight that the router gives to one expert by `factor`; 0 ablates it. The choice is the same."""

    layer: int
    expert: int
    factor: float
    tokens: Tokens = None

    @property
    def site(self) -> str:
        return layer_site(self.layer, ROUTER)

    def check(self, site: Site) -> None:
        check_index("expert", self.expert, site.row_shape[0], self.layer)
        check_factor(self.factor)

    def change(self, site: Site, rows: Rows) -> Change:
        factors = np.ones(site.row_shape, np.float32)
        factors[self.expert] = self.factor
        return scaled(factors, self.tokens, rows)

    def __str__(self) -> str:
        return f"expert {self.layer}.{self.expert}{scaling(self.factor)}{at(self.tokens)}"


@dataclass(frozen=True)
class ChooseExpert:
    """Adds `bonus` to the router's score of one expert: a large one forces the choice, a very negative one forbids it.

    The weights of the chosen experts follow from the changed scores.
    """

    layer: int
    expert: int
    bonus: float = 1e4
    tokens: Tokens = None

    @property
    def site(self) -> str:
        return layer_site(self.layer, SCORES)

    def check(self, site: Site) -> None:
        check_index("expert", self.expert, site.row_shape[0], self.layer)
        check_factor(self.bonus)

    def change(self, site: Site, rows: Rows) -> Change:
        bonuses = np.zeros(site.row_shape, np.float32)
        bonuses[self.expert] = self.bonus
        return added(bonuses, self.tokens, rows)

    def __str__(self) -> str:
        choice = "forced" if self.bonus > 0 else "forbidden"
        return f"expert {self.layer}.{self.expert} {choice}{at(self.tokens)}"


@dataclass(frozen=True)
class Ablate:
    """Ablates a sublayer: it adds 0 to the residual stream. `Ablate("layers.4.ffn")`."""

    sublayer: str
    tokens: Tokens = None

    def __post_init__(self) -> None:
        if not _SUBLAYER.fullmatch(self.sublayer):
            raise MisuseError(
                f"no sublayer '{self.sublayer}' to ablate; use a name such as 'layers.4.attn' or 'layers.4.ffn'"
            )

    @property
    def site(self) -> str:
        return f"{self.sublayer}.output"

    def check(self, site: Site) -> None:
        """Accepts every existing sublayer."""

    def change(self, site: Site, rows: Rows) -> Change:
        return scaled(np.zeros(1, np.float32), self.tokens, rows)

    def __str__(self) -> str:
        _, layer, part = self.sublayer.split(".")
        return f"{SUBLAYER_NAMES[part]} of layer {layer} ablated{at(self.tokens)}"


@dataclass(frozen=True, eq=False)
class Replace:
    """Replaces the values of a site at some tokens.

    Attributes:
        value: One row for each of `tokens`, in their order.
    """

    site: str
    tokens: tuple[int, ...]
    value: Float[np.ndarray, "token ..."]

    def check(self, site: Site) -> None:
        expected = (len(self.tokens), *site.changed_shape)
        if self.value.shape != expected:
            raise MisuseError(f"{self.site} at {len(self.tokens)} tokens has shape {expected}, got {self.value.shape}")
        if not (np.abs(self.value) <= LARGEST).all():
            raise MisuseError(f"the values that replace {self.site} are not all finite in float32")

    def change(self, site: Site, rows: Rows) -> Change:
        scale = np.ones((len(rows), *(1 for _ in site.changed_shape)), np.float32)
        shift = np.zeros((len(rows), *site.changed_shape), np.float32)
        for token, value in zip(self.tokens, self.value, strict=True):
            if token in rows:
                scale[token - rows.start], shift[token - rows.start] = 0, value
        return Change(scale, shift)

    def __str__(self) -> str:
        return f"{self.site} replaced{at(self.tokens)}"


@dataclass(frozen=True)
class Noise:
    """Adds Gaussian noise to the embeddings of some tokens, as causal tracing corrupts a subject (Meng et al. 2022).

    Attributes:
        deviation: Standard deviation of the noise, in the units of the embeddings.
        seed: Equal seeds give equal noise at each token, for any division of the run into passes.
    """

    tokens: tuple[int, ...]
    deviation: float
    seed: int = 0

    @property
    def site(self) -> str:
        return layer_site(0, "input")

    def check(self, site: Site) -> None:
        if not 0 <= self.deviation < LARGEST:
            raise MisuseError(f"noise needs a standard deviation of 0 or more, got {self.deviation:g}")
        if self.seed < 0:
            raise MisuseError(f"noise needs a seed of 0 or more, got {self.seed}")

    def change(self, site: Site, rows: Rows) -> Change:
        shift = np.zeros((len(rows), *site.row_shape), np.float32)
        for token in set(self.tokens) & set(rows):
            noise = np.random.default_rng([self.seed, token]).standard_normal(site.row_shape)
            shift[token - rows.start] = self.deviation * noise
        return Change(np.ones((1,) * (1 + len(site.row_shape)), np.float32), shift)

    def __str__(self) -> str:
        return f"noise of {self.deviation:g} on the embeddings{at(self.tokens)}"


_WRITTEN = {name.lower(): part for part, name in SUBLAYER_NAMES.items()}
"""Sublayers as users write them: `attention:2`, `ffn:2`."""

_ABLATION = re.compile(rf"(?:(head|neuron|expert):(\d{{1,9}})\.|({'|'.join(_WRITTEN)}):)(\d{{1,9}})")


_UNITS: dict[str, type[ScaleHead] | type[ScaleNeuron] | type[ScaleExpert]] = {
    "head": ScaleHead,
    "neuron": ScaleNeuron,
    "expert": ScaleExpert,
}


def ablation_of(text: str) -> Edit:
    """The edit for an ablation as users write it: `head:3.5`, `neuron:4.1023`, `expert:2.7`, `ffn:2`.

    Raises:
        MisuseError: the text has none of these forms.
    """
    match = _ABLATION.fullmatch(text)
    if match is None:
        raise MisuseError(
            f"cannot ablate '{text}'; use head:LAYER.HEAD, neuron:LAYER.NEURON, expert:LAYER.EXPERT, attention:LAYER "
            "or ffn:LAYER"
        )
    kind, layer, sublayer, index = match.groups()
    if sublayer:
        return Ablate(layer_site(int(index), _WRITTEN[sublayer]))
    return _UNITS[kind](int(layer), int(index), 0.0)
