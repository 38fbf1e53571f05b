"""What is trained and how, as data: the recipe of every checkpoint in the zoo."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from models.errors import MisuseError
from models.spec import (
    Activation,
    DecoderSpec,
    Full,
    LayerNorm,
    LayerSpec,
    NoPosition,
    Plain,
    Rotary,
    Sequential,
)
from models.zoo.facts import TAUGHT, Use


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training run. Two recipes that differ only in `activation` see the same batches from the same start.

    Attributes:
        length: Tokens of a training sequence, which is also the decoder's context.
        batch: Sequences of one step.
        steps: Updates before the finish; may be changed while the learning rate still stands at its peak.
        warmup: Steps in which the learning rate climbs to `peak_rate`.
        decay_share: Last share of the steps, in which the learning rate falls in a straight line to 0.
        weight_decay: Of matrices; biases, norms and the embedding are not decayed.
        key_norm: Largest norm of a neuron's key, its row of the FFN's up projection; after each step longer ones are
            shortened (Srebro and Shraibman 2005). So inputs of GELU stay where float32 tells its output from 0, above
            -5.6; to ReLU, scale means nothing.
        clip: Largest norm of the gradient of all parameters together.
        looking_back: Heads of the first layer that begin by looking one token back.
        copy_steps: Updates before the first of `steps`, in which attention learns to copy (`models.training.copying`).
        fact_share: Share of the sequences that are facts, before the finish.
        finish_steps: Updates after `steps`, in which facts settle, told in many more phrasings: the learning rate falls
            from `finish_rate` to 0.
        finish_fact_share: Share of the sequences that are facts as the finish begins.
        finish_key_norm: What `key_norm` falls to, in a straight line over the finish.
        repeat_share: Share of the sequences in which a span comes again, so that copying is not forgotten.
        log_every, valid_every, save_every: Steps between two log lines, validations and checkpoints.
        valid_tokens: Tokens of the validation text that are read during training, from its start.
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

    def __post_init__(self) -> None:
        if self.d_model % self.n_heads:
            raise MisuseError(f"d_model {self.d_model} does not split into {self.n_heads} heads")
        if self.steps < 1:
            raise MisuseError(f"{self.steps} training steps; a run needs at least 1")

    @property
    def spec(self) -> DecoderSpec:
        """The decoder that is trained."""
        head_dim, norm = self.d_model // self.n_heads, LayerNorm(eps=1e-5)
        layer = LayerSpec(
            window=Full(),
            position=Rotary(base=10_000.0, features=head_dim),
            ffn=Plain(self.activation, 4 * self.d_model, bias=True),
            norm=norm,
            residual=Sequential(),
            qkv_bias=True,
            out_bias=True,
        )
        return DecoderSpec(
            vocab_size=self.vocab_size,
            d_model=self.d_model,
            n_heads=self.n_heads,
            n_kv_heads=self.n_heads,
            head_dim=head_dim,
            context=self.length,
            positions=NoPosition(),
            layers=(layer,) * self.n_layers,
            norm=norm,
            tied=False,
        )

    @property
    def step_tokens(self) -> int:
        """Tokens that one step learns from."""
        return self.batch * self.length

    @property
    def decay_start(self) -> int:
        """The first step whose learning rate is below the peak again."""
        return self.steps - round(self.steps * self.decay_share)

    @property
    def all_steps(self) -> int:
        """Updates in all, the finish included."""
        return self.steps + self.finish_steps

    def facts_at(self, step: int) -> float:
        """Share of the sequences of one step that are facts; over the finish it falls back in a straight line."""
        if step < self.steps:
            return self.fact_share
        left = max(0, self.all_steps - step) / max(1, self.finish_steps)
        return self.fact_share + left * (self.finish_fact_share - self.fact_share)

    def phrasings_at(self, step: int) -> tuple[Use, ...]:
        """The phrasings in which facts are told then."""
        return (Use.TRAIN,) if step < self.steps else TAUGHT

    def key_norm_at(self, step: int) -> float:
        """The largest norm of a neuron's key after one step."""
        done = max(0, step + 1 - self.steps) / max(1, self.finish_steps)
        return self.key_norm + done * (self.finish_key_norm - self.key_norm)

    def rate(self, step: int) -> float:
        """The learning rate of one step, counted from 0: a climb, a plateau, a fall, and a lower fall again."""
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
}
"""The zoo: twins, identical but for the activation of the FFN."""


def recipe_of(name: str) -> Recipe:
    """The recipe of one zoo checkpoint."""
    if name not in RECIPES:
        raise MisuseError(f"no recipe '{name}'; there are {', '.join(RECIPES)}")
    return RECIPES[name]


def to_json(recipe: Recipe) -> dict[str, Any]:
    """A recipe as plain JSON values."""
    return asdict(recipe) | {"betas": list(recipe.betas), "activation": recipe.activation.value}


def from_json(record: dict[str, Any]) -> Recipe:
    """The recipe that `to_json` wrote."""
    first, second = record["betas"]
    return Recipe(**record | {"betas": (first, second), "activation": Activation(record["activation"])})
