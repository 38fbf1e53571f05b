"""The families Edge reads, by the `model_type` that `config.json` states."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches

from models.errors import SpecError
from models.families import (
    gemma,
    gemma2,
    gemma3,
    gpt2,
    gpt_neox,
    granite,
    llama,
    mistral,
    olmo2,
    opt,
    phi,
    phi3,
    qwen2,
    qwen3,
    smollm3,
    stablelm,
    starcoder2,
)
from models.families.config import Config
from models.families.views import Stored
from models.spec import DecoderSpec


def no_multipliers(config: Config) -> dict[str, float]:
    """Weights are used as they are stored."""
    return {}


@dataclass(frozen=True)
class Family:
    """A family is data: how its config becomes a spec, and where its weights lie.

    Attributes:
        keys: The config key behind each of our sizes, for messages.
        prefix: What checkpoints of the bare decoder leave off their tensor names.
        multipliers: Numbers of the config that parameters of a part are multiplied by when they are read.
    """

    spec_of: Callable[[Config], DecoderSpec]
    weights_of: Callable[[DecoderSpec], dict[str, Stored]]
    keys: dict[str, str]
    prefix: str
    multipliers: Callable[[Config], dict[str, float]] = no_multipliers

    def multiplier(self, config: Config, parameter: str) -> float:
        """What one parameter is multiplied by; parts are named without their layer: `attn.query`, `embed`."""
        part = re.sub(r"^layers\.\d+\.|\.(weight|bias)$", "", parameter)
        return self.multipliers(config).get(part, 1.0)


FAMILIES = {
    "gemma": Family(gemma.spec_of, gemma.weights_of, llama.KEYS, "model.", gemma.multipliers),
    "gemma2": Family(gemma2.spec_of, gemma2.weights_of, llama.KEYS, "model.", gemma2.multipliers),
    "gemma3_text": Family(gemma3.spec_of, gemma3.weights_of, llama.KEYS, "model.", gemma3.multipliers),
    "gpt2": Family(gpt2.spec_of, gpt2.weights_of, gpt2.KEYS, "transformer."),
    "gpt_neox": Family(gpt_neox.spec_of, gpt_neox.weights_of, gpt_neox.KEYS, "gpt_neox."),
    "granite": Family(llama.spec_of, llama.weights_of, llama.KEYS, "model.", granite.multipliers),
    "llama": Family(llama.spec_of, llama.weights_of, llama.KEYS, "model."),
    "mistral": Family(mistral.spec_of, llama.weights_of, llama.KEYS, "model."),
    "olmo2": Family(olmo2.spec_of, olmo2.weights_of, llama.KEYS, "model."),
    "opt": Family(opt.spec_of, opt.weights_of, opt.KEYS, "model."),
    "phi": Family(phi.spec_of, phi.weights_of, llama.KEYS, "model."),
    "phi3": Family(phi3.spec_of, phi3.weights_of, llama.KEYS, "model."),
    "qwen2": Family(qwen2.spec_of, llama.weights_of, llama.KEYS, "model."),
    "qwen3": Family(qwen3.spec_of, qwen3.weights_of, llama.KEYS, "model."),
    "smollm3": Family(smollm3.spec_of, llama.weights_of, llama.KEYS, "model."),
    "stablelm": Family(stablelm.spec_of, stablelm.weights_of, llama.KEYS, "model."),
    "starcoder2": Family(starcoder2.spec_of, starcoder2.weights_of, llama.KEYS, "model."),
}


def family_of(config: Config) -> Family:
    """The family that a config belongs to; an unknown one is refused by name."""
    name = config.keys.get("model_type")
    if name in FAMILIES:
        return FAMILIES[name]
    if not isinstance(name, str):
        raise SpecError(f"{config.path} has no 'model_type', so Edge cannot tell what decoder it describes")
    close = get_close_matches(name, FAMILIES, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    raise SpecError(f"{config.path}: Edge does not run model_type '{name}'{hint} (it runs {', '.join(FAMILIES)})")
