"""The config of a GGUF file: its keys by the names of Hugging Face, for the families that read configs."""

from models.errors import SpecError
from models.sources.gguf.architectures import ARCHITECTURES as ARCHITECTURES
from models.sources.gguf.keys import GgufKeys
from models.sources.gguf.rope import Factors, scaling_of
from models.sources.gguf.sizes import Keys, sizes_of


def config_of(keys: GgufKeys, factors: Factors) -> Keys:
    """The keys of `config.json` for the decoder in a file.

    Args:
        factors: Reads a tensor of divisors of rotary angles.

    Raises:
        SpecError: an architecture that Edge does not support, or keys that are missing or wrong.
    """
    made = ARCHITECTURES.get(keys.architecture)
    if made is None:
        known = ", ".join(ARCHITECTURES)
        raise SpecError(f"{keys.file} has the architecture '{keys.architecture}'; in GGUF files Edge reads {known}")
    _refuse_unsupported(keys)
    found = sizes_of(keys) | {"rope_theta": keys.number("rope.freq_base", 10_000.0)} | made(keys)
    if table := scaling_of(keys, factors) | found.get("rope_scaling", {}):
        found["rope_scaling"] = {"rope_type": "default"} | table
    return found


def _refuse_unsupported(keys: GgufKeys) -> None:
    """Raises SpecError for keys that require what the families of Edge do not have."""
    if not keys.flag("attention.causal", True):
        raise _unsupported(keys, "attention.causal", "attention to later tokens")
    # The other architectures have this key without a meaning.
    if keys.architecture.startswith("granite") and not keys.flag("rope.scaling.finetuned", True):
        raise _unsupported(keys, "rope.scaling.finetuned", "layers without positions")
    if keys.architecture != "qwen2moe" and keys.whole("expert_shared_feed_forward_length", 0, least=0):
        raise _unsupported(keys, "expert_shared_feed_forward_length", "experts that all tokens use")
    if keys.architecture == "glm4" and "rope.dimension_sections" in keys:
        raise _unsupported(keys, "rope.dimension_sections", "positions of images")


def _unsupported(keys: GgufKeys, name: str, feature: str) -> SpecError:
    return SpecError(f"{keys.file}: '{keys.architecture}.{name}' requires {feature}, which Edge does not support")
