"""How far each layer sees, as configs of transformers say it."""

from collections.abc import Sequence

from models.errors import SpecError
from models.families.config import Config
from models.families.llama import layers_of
from models.spec import AttentionWindow, Full, Sliding

SLIDING, FULL = "sliding_attention", "full_attention"


def window_of(config: Config) -> AttentionWindow:
    """One window for all layers, where the config has one."""
    tokens = config.count_or_none("sliding_window")
    return Full() if tokens is None else Sliding(tokens)


def windows_of(config: Config, near: AttentionWindow, unstated: Sequence[str]) -> list[AttentionWindow]:
    """The attention window of every layer: by `layer_types`, or by the family's own names where the config has none.

    `near` is what layers see that are called sliding; there is a window for them in any config that names one.
    """
    n_layers, names = layers_of(config), config.stated("layer_types")
    names = unstated if names is None else names
    known: dict[str, AttentionWindow] = {FULL: Full(), "attention": Full(), SLIDING: near}
    if not isinstance(names, list) or any(not isinstance(name, str) or name not in known for name in names):
        raise config.refusal("layer_types", f"a list that names {FULL} or {SLIDING} for each layer")
    if len(names) != n_layers:
        raise config.refusal("layer_types", f"a list of {n_layers} names, one for each layer")
    if SLIDING in names and near == Full():
        raise SpecError(f"{config.path}: layers are {SLIDING}, but 'sliding_window' or its switch states no window")
    return [known[name] for name in names]


def upper_windows(config: Config) -> list[AttentionWindow]:
    """As Qwen has it: a window from `max_window_layers` on, where windows are used."""
    near = window_of(config) if config.flag("use_sliding_window") else Full()
    first = config.count("max_window_layers", least=0)
    unstated = [SLIDING if near != Full() and layer >= first else FULL for layer in range(layers_of(config))]
    return windows_of(config, near, unstated)
