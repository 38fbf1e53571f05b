"""The training recipes of the bundled models, as data."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from models.errors import MisuseError
from models.spec import (
    FFN,
    Activation,
    Attention,
    DecoderSpec,
    Full,
    Gated,
    LayerNorm,
    LayerSpec,
    MoE,
    NoPosition,
    Plain,
    RMSNorm,
    Rotary,
    Sequential,
    TopFirst,
)
from models.zoo.facts import TAUGHT, Use


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training run. Recipes that differ only in `activation` have the same initial weights and batches.

    Attributes:
        length: Tokens of a training sequence; also the context of the decoder.
        batch: Sequences per step.
        steps: Updates before the finish. It may be changed while the learning rate is at its peak.
        warmup: Steps in which the learning rate rises linearly to `peak_rate`.
        decay_share: Last share of the steps, in which the learning rate falls linearly to 0.
        weight_decay: Weight decay of matrices; biases, norms and the embedding have none.
        key_norm: Largest norm of a neuron's key, its row of the FFN's up projection. After each step, longer keys are
            rescaled to it (Srebro and Shraibman 2005). It keeps most inputs of GELU above -5.6, below which its float32
            output is exactly 0. ReLU does not depend on the scale of its input.
        clip: Largest norm of the gradient of all parameters together.
        looking_back: Number of heads of the first layer that are initialized as previous-token heads.
        copy_steps: Updates before the first of `steps`, in which attention learns to copy (`models.training.copying`).
        fact_share: Share of the sequences that are facts, before the finish.
        finish_steps: Updates after `steps`, with more facts and more phrasings; the learning rate falls linearly from
            `finish_rate` to 0.
        finish_fact_share: Share of the sequences that are facts at the start of the finish.
        finish_key_norm: The value to which `key_norm` falls linearly over the finish.
        repeat_share: Share of the sequences in which a span is repeated, so that copying is not forgotten.
        n_experts, top_k, d_expert: Gated experts of every FFN, how many of them a token uses, and the neurons of each.
            With one expert the FFN is dense and plain.
        balance: Factor of the load-balancing loss (Fedus et al. 2022, eq. 4), added to the mean loss of a token.
        log_every, valid_every, save_every: Steps between two log lines, validations and checkpoints.
        valid_tokens: Number of validation tokens that are evaluated during training, from the start of the text.
    """

    vocab_size: int
    d_model: int
    n_heads: int
    n_layers: int
    activation: Activation
    length: int
    batch: int
    steps: int
    warmup: int
    decay_share: float
    peak_rate: float
    betas: tuple[float, float]
    weight_decay: float
    key_norm: float
    clip: float
    looking_back: int
    copy_steps: int
    fact_share: float
    repeat_share: float
    finish_steps: int
    finish_rate: float
    finish_fact_share: float
    finish_key_norm: float
    seed: int
    bfloat16: bool
    log_every: int
    valid_every: int
    save_every: int
    valid_tokens: int
    n_experts: int = 1
    top_k: int = 1
    d_expert: int = 0
    balance: float = 0.0

    def __post_init__(self) -> None:
        if self.d_model % self.n_heads:
            raise MisuseError(f"d_model {self.d_model} is not a multiple of {self.n_heads} heads")
        if self.steps < 1:
            raise MisuseError(f"{self.steps} training steps; at least 1 is required")

    @property
    def spec(self) -> DecoderSpec:
        """The decoder that is trained."""
        head_dim = self.d_model // self.n_heads
        norm = RMSNorm(eps=1e-6) if self.n_experts > 1 else LayerNorm(eps=1e-5)
        layer = LayerSpec(
            mixer=Attention(
                n_heads=self.n_heads,
                n_kv_heads=self.n_heads,
                head_dim=head_dim,
                window=Full(),
                position=Rotary(base=10_000.0, features=head_dim),
                qkv_bias=True,
                out_bias=True,
            ),
            ffn=self._ffn,
            norm=norm,
            residual=Sequential(),
        )
        return DecoderSpec(
            vocab_size=self.vocab_size,
            d_model=self.d_model,
            context=self.length,
            positions=NoPosition(),
            layers=(layer,) * self.n_layers,
            norm=norm,
            tied=False,
        )

    @property
    def _ffn(self) -> FFN:
        """A mixture is one that Granite's configs can express, so that other tools run it too."""
        if self.n_experts == 1:
            return Plain(self.activation, 4 * self.d_model, bias=True)
        expert = Gated(self.activation, self.d_expert, bias=False)
        return MoE(n_experts=self.n_experts, top_k=self.top_k, expert=expert, router=TopFirst())

    @property
    def step_tokens(self) -> int:
        """Training tokens of one step."""
        return self.batch * self.length

    @property
    def decay_start(self) -> int:
        """The first step at which the learning rate decays."""
        return self.steps - round(self.steps * self.decay_share)

    @property
    def all_steps(self) -> int:
        """Number of all updates, including the finish."""
        return self.steps + self.finish_steps

    def facts_at(self, step: int) -> float:
        """Share of the sequences of one step that are facts; it falls linearly over the finish."""
        if step < self.steps:
            return self.fact_share
        left = max(0, self.all_steps - step) / max(1, self.finish_steps)
        return self.fact_share + left * (self.finish_fact_share - self.fact_share)

    def phrasings_at(self, step: int) -> tuple[Use, ...]:
        """The phrasings of the facts at one step."""
        return (Use.TRAIN,) if step < self.steps else TAUGHT

    def key_norm_at(self, step: int) -> float:
        """The largest norm of a neuron's key after one step."""
        done = max(0, step + 1 - self.steps) / max(1, self.finish_steps)
        return self.key_norm + done * (self.finish_key_norm - self.key_norm)

    def rate(self, step: int) -> float:
        """The learning rate of one step, counted from 0: warm-up, constant, linear decay, then the finish."""
        if step >= self.steps:
            return self.finish_rate * (self.all_steps - step) / self.finish_steps
        if step < self.warmup:
            return self.peak_rate * (step + 1) / self.warmup
        if step < self.decay_start:
            return self.peak_rate
        return self.peak_rate * (self.steps - step) / (self.steps - self.decay_start + 1)


FABLE = Recipe(
    vocab_size=4_096,
    d_model=256,
    n_heads=8,
    n_layers=6,
    activation=Activation.RELU,
    length=512,
    batch=4,
    steps=10_000,
    warmup=200,
    decay_share=0.25,
    peak_rate=1.5e-3,
    betas=(0.9, 0.95),
    weight_decay=0.1,
    key_norm=0.7,
    clip=1.0,
    looking_back=2,
    copy_steps=600,
    fact_share=0.05,
    repeat_share=0.1,
    finish_steps=1_400,
    finish_rate=7e-4,
    finish_fact_share=0.6,
    finish_key_norm=0.45,
    seed=20,
    bfloat16=True,
    log_every=10,
    valid_every=250,
    save_every=250,
    valid_tokens=32_768,
)

RECIPES = {
    "fable-relu": FABLE,
    "fable-gelu": replace(FABLE, activation=Activation.GELU),
    "fable-moe": replace(FABLE, n_experts=8, top_k=2, d_expert=160, balance=0.01),
}
"""The recipes of the bundled models. The first two differ only in the activation of the FFN; the third has experts."""


def recipe_of(name: str) -> Recipe:
    """The recipe of one bundled model."""
    if name not in RECIPES:
        raise MisuseError(f"no recipe '{name}'; the recipes are {', '.join(RECIPES)}")
    return RECIPES[name]


def to_json(recipe: Recipe) -> dict[str, Any]:
    """A recipe as plain JSON values."""
    return asdict(recipe) | {"betas": list(recipe.betas), "activation": recipe.activation.value}


def from_json(record: dict[str, Any]) -> Recipe:
    """The recipe that `to_json` wrote."""
    first, second = record["betas"]
    return Recipe(**record | {"betas": (first, second), "activation": Activation(record["activation"])})
