"""The families Edge reads: every module here that holds a `FAMILY`, by the `model_type` that `config.json` states."""

from difflib import get_close_matches
from importlib import import_module
from pkgutil import iter_modules

from models import families
from models.errors import SpecError
from models.families.config import Config
from models.families.family import Family

FAMILIES: dict[str, Family] = {
    name: module.FAMILY
    for name, module in (
        (found.name, import_module(f"{families.__name__}.{found.name}"))
        for found in iter_modules(families.__path__)
        if found.name != "registry"
    )
    if hasattr(module, "FAMILY")
}

_EXPERTS, _ALIBI, _STATES = "mixture-of-experts FFNs", "ALiBi positions", "recurrent states instead of attention"

_OTHERS = {
    "bloom": _ALIBI,
    "mpt": _ALIBI,
    "mixtral": _EXPERTS,
    "qwen2_moe": _EXPERTS,
    "qwen3_moe": _EXPERTS,
    "phimoe": _EXPERTS,
    "olmoe": _EXPERTS,
    "gpt_oss": _EXPERTS,
    "deepseek_v2": _EXPERTS,
    "deepseek_v3": _EXPERTS,
    "granitemoe": _EXPERTS,
    "mamba": _STATES,
    "mamba2": _STATES,
    "rwkv": _STATES,
    "recurrent_gemma": _STATES,
    "t5": "an encoder and cross-attention",
    "bart": "an encoder and cross-attention",
    "bert": "attention to later tokens",
    "roberta": "attention to later tokens",
    "gemma3": "images beside text (its text decoder alone has model_type 'gemma3_text')",
}
"""What well-known models need that Edge does not run."""


def family_of(config: Config) -> Family:
    """The family that a config belongs to; an unknown one is refused by name, or by what it needs."""
    name = config.keys.get("model_type")
    if not isinstance(name, str):
        raise SpecError(f"{config.path} has no 'model_type', so Edge cannot tell what decoder it describes")
    for key in ("num_local_experts", "num_experts", "n_routed_experts"):
        config.refuse(key, _EXPERTS)
    config.refuse("alibi", _ALIBI)
    if name in FAMILIES:
        return FAMILIES[name]
    if name in _OTHERS:
        raise SpecError(f"{config.path}: model_type '{name}' needs {_OTHERS[name]}, which Edge does not run")
    close = get_close_matches(name, FAMILIES, n=1)
    hint = f"; did you mean '{close[0]}'?" if close else ""
    raise SpecError(f"{config.path}: Edge does not run model_type '{name}'{hint} (it runs {', '.join(FAMILIES)})")
