"""A family of decoders: the keys of its configs, how they become a spec, and the names of its weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from models.errors import SpecError
from models.families.config import Config, shown
from models.families.harmless import HARMLESS
from models.families.rope import OLDER_KEYS
from models.families.switches import EXPERT_COUNTS, SWITCHES, Switch
from models.families.views import Stored
from models.spec import DecoderSpec

KEYS = {
    "vocab_size": "vocab_size",
    "n_layers": "num_hidden_layers",
    "d_model": "hidden_size",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "d_ff": "intermediate_size",
}


def no_multipliers(config: Config) -> dict[str, float]:
    """No multipliers: weights are used as stored."""
    return {}


@dataclass(frozen=True, kw_only=True)
class Family:
    """The rules of one family. The module has the name of the `model_type` in configs, and the family is its `FAMILY`.

    Attributes:
        decoder: Makes the spec from a complete config.
        weights_of: The stored tensor of every parameter.
        folded: Makes multipliers from a complete config. Parameters of a part are multiplied by them when they are
            read. Parts are named without their layer: `attn.query`, `embed`.
        defaults: Every key that the family reads, with its default in the config class of transformers.
        nullable: Keys that may be null, besides those whose default is null. Null is not the same as a missing key.
        aliases: Other names of keys. An alias takes precedence if a config has both, as in transformers.
        switches: Other keys of the config class that can require a feature that Edge does not support.
        harmless: Keys of this family only that change no logit.
        keys: The config key of each size of the spec, for messages.
        prefix: Prefix of tensor names that checkpoints of the bare decoder leave out.
    """

    decoder: Callable[[Config], DecoderSpec]
    weights_of: Callable[[DecoderSpec], dict[str, Stored]]
    defaults: Mapping[str, Any]
    nullable: frozenset[str] = frozenset()
    aliases: Mapping[str, str] = field(default_factory=dict)
    switches: Mapping[str, Switch] = field(default_factory=dict)
    harmless: frozenset[str] = frozenset()
    keys: Mapping[str, str] = field(default_factory=lambda: KEYS)
    prefix: str = "model."
    folded: Callable[[Config], dict[str, float]] = no_multipliers

    def spec_of(self, config: Config) -> DecoderSpec:
        """The decoder that a config describes.

        Raises:
            SpecError: a value has the wrong type, sizes are impossible, or Edge does not support a feature.
        """
        return self.decoder(self.complete(config))

    def multipliers(self, config: Config) -> dict[str, float]:
        """The multiplier of the weights of each part, applied when they are read."""
        return self.folded(self.complete(config))

    @property
    def checked(self) -> dict[str, Switch]:
        """The switches of keys that the family does not read. One with experts ignores other names of their number."""
        read = {*self.defaults, *self.aliases}
        ignored = read if read.isdisjoint(EXPERT_COUNTS) else read | EXPERT_COUNTS
        return {key: switch for key, switch in {**SWITCHES, **self.switches}.items() if key not in ignored}

    def complete(self, config: Config) -> Config:
        """All keys that the family reads, with values or defaults; other keys are left out."""
        for key, switch in self.checked.items():
            switch.check(config, key)
        keys = dict(config.keys) | {
            ours: config.keys[other] for other, ours in self.aliases.items() if other in config.keys
        }
        for key, default in self.defaults.items():
            needed = default is not None and key not in self.nullable and key not in OLDER_KEYS
            if needed and key in keys and keys[key] is None:
                raise SpecError(
                    f"{config.path}: '{key}' is null, which this family does not allow; set a value, or remove the key "
                    f"to use {shown(default)}"
                )
        return Config(config.path, {key: keys.get(key, default) for key, default in self.defaults.items()})

    def unread(self, config: Config) -> tuple[str, ...]:
        """Keys with a value that neither the family nor its class in transformers reads.

        A newer class may read them. Keys that begin with `_` are notes of the file's author.
        """
        known = {*self.defaults, *self.aliases, *self.checked, *self.harmless, *HARMLESS}
        return tuple(key for key, value in config.keys.items() if value and key not in known and key[:1] != "_")
