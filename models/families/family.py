"""What a family of decoders is: which keys its configs have, how they become a spec, and where its weights lie."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from models.errors import SpecError
from models.families.config import Config, shown
from models.families.harmless import HARMLESS
from models.families.rope import BESIDE
from models.families.switches import SWITCHES, Switch
from models.families.views import Stored
from models.spec import DecoderSpec

_KEYS = {
    "vocab_size": "vocab_size",
    "n_layers": "num_hidden_layers",
    "d_model": "hidden_size",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "d_ff": "intermediate_size",
}


def no_multipliers(config: Config) -> dict[str, float]:
    """Weights are used as they are stored."""
    return {}


@dataclass(frozen=True, kw_only=True)
class Family:
    """A family is data; its module is named as the `model_type` of its configs and holds it as `FAMILY`.

    Attributes:
        decoder: The spec of a complete config.
        folded: Numbers of a complete config that parameters of a part are multiplied by when they are read; parts are
            named without their layer: `attn.query`, `embed`.
        defaults: Every key that the family reads, with what its config class in transformers means by leaving it out.
        nullable: Keys besides those with a default of null that may be null, which is not the same as left out.
        aliases: Other names of keys, which count more where a config has both, as in transformers.
        switches: What else the config class can ask for, and Edge does not run.
        harmless: Keys of this family alone that change no logit, besides those that change none anywhere.
        keys: The config key behind each of our sizes, for messages.
        prefix: What checkpoints of the bare decoder leave off their tensor names.
    """

    decoder: Callable[[Config], DecoderSpec]
    weights_of: Callable[[DecoderSpec], dict[str, Stored]]
    defaults: Mapping[str, Any]
    nullable: frozenset[str] = frozenset()
    aliases: Mapping[str, str] = field(default_factory=dict)
    switches: Mapping[str, Switch] = field(default_factory=dict)
    harmless: frozenset[str] = frozenset()
    keys: Mapping[str, str] = field(default_factory=lambda: _KEYS)
    prefix: str = "model."
    folded: Callable[[Config], dict[str, float]] = no_multipliers

    def spec_of(self, config: Config) -> DecoderSpec:
        """The decoder that a config describes.

        Raises:
            SpecError: a value of the wrong kind, sizes that no decoder has, or something that Edge does not run.
        """
        return self.decoder(self.complete(config))

    def multipliers(self, config: Config) -> dict[str, float]:
        """What the weights of each part are multiplied by when they are read."""
        return self.folded(self.complete(config))

    def complete(self, config: Config) -> Config:
        """The keys that the family reads, each with a value; those that its class does not know mean nothing to it."""
        for key, switch in {**SWITCHES, **self.switches}.items():
            switch.check(config, key)
        keys = dict(config.keys) | {
            ours: config.keys[other] for other, ours in self.aliases.items() if other in config.keys
        }
        for key, default in self.defaults.items():
            needed = default is not None and key not in self.nullable and key not in BESIDE
            if needed and key in keys and keys[key] is None:
                raise SpecError(
                    f"{config.path}: '{key}' is null, and this family takes no null there; give it a value, or leave "
                    f"it out for {shown(default)}"
                )
        return Config(config.path, {key: keys.get(key, default) for key, default in self.defaults.items()})

    def unread(self, config: Config) -> tuple[str, ...]:
        """Keys that ask for something and mean nothing to the family, nor to its class in transformers.

        A newer class may know them. Names that begin with a line are notes of whoever wrote the file.
        """
        known = {*self.defaults, *self.aliases, *self.switches, *SWITCHES, *self.harmless, *HARMLESS}
        return tuple(key for key, value in config.keys.items() if value and key not in known and key[:1] != "_")
