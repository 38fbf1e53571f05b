"""The families that Edge supports: every module here with a `FAMILY`, by the `model_type` in `config.json`."""

import re
from importlib import import_module
from pkgutil import iter_modules

from models import families
from models.errors import SpecError
from models.families.config import Config, shown
from models.families.family import Family
from models.families.switches import SWITCHES
from models.families.unsupported import lacking_part

FAMILIES: dict[str, Family] = {
    name: module.FAMILY
    for name, module in (
        (found.name, import_module(f"{families.__name__}.{found.name}"))
        for found in iter_modules(families.__path__)
        if found.name != "registry"
    )
    if hasattr(module, "FAMILY")
}

_OTHERS = {
    "phimoe": "a router that chooses experts one after another",
}
"""Features of well-known models that Edge does not support, besides those of `unsupported`."""


def family_of(config: Config) -> Family:
    """The family of a config. An error names an unknown family, or the feature that Edge does not support."""
    name = config.keys.get("model_type")
    if not isinstance(name, str):
        raise SpecError(f"{config.path} has no 'model_type', so its decoder is unknown")
    if name not in FAMILIES and (part := lacking_part(config, name)):
        raise SpecError(f"{config.path}: model_type {shown(name)} requires {part}, which Edge does not support")
    if name in FAMILIES:
        return FAMILIES[name]
    SWITCHES["alibi"].check(config, "alibi")
    if name in _OTHERS:
        raise SpecError(f"{config.path}: model_type '{name}' requires {_OTHERS[name]}, which Edge does not support")
    meant = next((family for family in FAMILIES if is_slip(name, family)), None)
    hint = f"; did you mean '{meant}'?" if meant else ""
    raise SpecError(
        f"{config.path}: Edge does not support model_type {shown(name)}{hint} (supported: {', '.join(FAMILIES)})"
    )


def is_slip(typed: str, meant: str) -> bool:
    """Whether a name is a typing error of another: other case or separators, or one letter missing, added or swapped.

    A replaced letter, a digit, a letter next to a digit, or a new one at the end makes another model: `llava` and
    `mllama` are not `llama`, `olmo` is neither `olmo2` nor `olmoe`, and `gemma3n` is not `gemma3`.
    """
    first, second = (re.sub("[^a-z0-9]", "", name.lower()) for name in (typed, meant))
    longer, shorter = sorted((first, second), key=len, reverse=True)
    if first == second or len(longer) - len(shorter) > 1:
        return first == second
    if first[:1] != second[:1] or re.sub("[a-z]", "", first) != re.sub("[a-z]", "", second):
        return False
    places = range(len(longer))
    if len(longer) > len(shorter):
        at_end = longer[:-1] == shorter and longer[-1] != shorter[-1]
        return not at_end and any(
            longer[:at] + longer[at + 1 :] == shorter and not longer[max(at - 1, 0)].isdigit() for at in places
        )
    return any(first[:at] + first[at : at + 2][::-1] + first[at + 2 :] == second for at in places)
