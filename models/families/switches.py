"""Keys that enable features that Edge does not support; a config that sets one is refused."""

from dataclasses import dataclass

from models.errors import SpecError
from models.families.config import Config, shown

EXPERTS, ALIBI = "mixture-of-experts FFNs", "ALiBi positions"


EXPERT_COUNTS = frozenset({"num_local_experts", "num_experts", "n_routed_experts"})
"""Keys for the number of experts, each in some families."""


@dataclass(frozen=True)
class Switch:
    """A key of which Edge supports only one value, true or false.

    Attributes:
        feature: The feature that the other value requires.
        runs: The supported value.
    """

    feature: str
    runs: bool = False

    def check(self, config: Config, key: str) -> None:
        """Raises SpecError if the config has the key with the other value."""
        if key in config.keys and bool(config.keys[key]) != self.runs:
            value = shown(config.keys[key])
            raise SpecError(
                f"{config.path}: '{key}' is {value}, which requires {self.feature}; Edge does not support it"
            )


SWITCHES = {
    "is_causal": Switch("attention to later tokens", runs=True),
    "use_bidirectional_attention": Switch("attention to later tokens"),
    "bidirectional": Switch("attention to later tokens"),
    "is_encoder_decoder": Switch("an encoder and cross-attention"),
    "add_cross_attention": Switch("cross-attention"),
    "per_layer_config": Switch("other sizes for some layers"),
    **dict.fromkeys(sorted(EXPERT_COUNTS), Switch(EXPERTS)),
    "alibi": Switch(ALIBI),
}
"""Switches that transformers reads for every family, and keys that mark an unsupported decoder in any config."""
