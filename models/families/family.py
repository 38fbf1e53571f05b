"""What a family of decoders is: how its config becomes a spec, and where its weights lie."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from models.families.config import Config
from models.families.views import Stored
from models.spec import DecoderSpec

_KEYS = {
    "vocab_size": "vocab_size",
    "d_model": "hidden_size",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "d_ff": "intermediate_size",
}


def no_multipliers(config: Config) -> dict[str, float]:
    """Weights are used as they are stored."""
    return {}


@dataclass(frozen=True)
class Family:
    """A family is data; its module is named as the `model_type` of its configs and holds it as `FAMILY`.

    Attributes:
        keys: The config key behind each of our sizes, for messages.
        prefix: What checkpoints of the bare decoder leave off their tensor names.
        multipliers: Numbers of the config that parameters of a part are multiplied by when they are read; parts are
            named without their layer: `attn.query`, `embed`.
    """

    spec_of: Callable[[Config], DecoderSpec]
    weights_of: Callable[[DecoderSpec], dict[str, Stored]]
    keys: Mapping[str, str] = field(default_factory=lambda: _KEYS)
    prefix: str = "model."
    multipliers: Callable[[Config], dict[str, float]] = no_multipliers
