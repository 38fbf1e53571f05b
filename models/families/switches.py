"""Keys that change what a decoder computes, in ways that Edge does not run; a config that sets one is refused."""

from dataclasses import dataclass

from models.errors import SpecError
from models.families.config import Config, shown

EXPERTS, ALIBI = "mixture-of-experts FFNs", "ALiBi positions"


@dataclass(frozen=True)
class Switch:
    """A key whose other position asks for something that Edge does not run.

    Attributes:
        feature: What it asks for.
        runs: Whether Edge runs what the key means when it is true; otherwise what it means when it is not.
    """

    feature: str
    runs: bool = False

    def check(self, config: Config, key: str) -> None:
        """Fails where the config has the key in the other position."""
        if key in config.keys and bool(config.keys[key]) != self.runs:
            value = shown(config.keys[key])
            raise SpecError(f"{config.path}: '{key}' is {value}, which asks for {self.feature}; Edge does not run it")


SWITCHES = {
    "is_causal": Switch("attention to later tokens", runs=True),
    "use_bidirectional_attention": Switch("attention to later tokens"),
    "bidirectional": Switch("attention to later tokens"),
    "is_encoder_decoder": Switch("an encoder and cross-attention"),
    "add_cross_attention": Switch("cross-attention"),
    "per_layer_config": Switch("sizes of their own for some layers"),
    "num_local_experts": Switch(EXPERTS),
    "num_experts": Switch(EXPERTS),
    "n_routed_experts": Switch(EXPERTS),
    "alibi": Switch(ALIBI),
}
"""Those that transformers reads for every family, and those that say in any config that this is another decoder."""
