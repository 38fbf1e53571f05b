"""The attention window of each layer, from the keys of configs of transformers."""

from collections.abc import Sequence

from models.errors import SpecError
from models.families.config import Config
from models.families.llama import layers_of
from models.spec import AttentionWindow, Full, Sliding

SLIDING, FULL = "sliding_attention", "full_attention"


def window_of(config: Config) -> AttentionWindow:
    """The window of all layers: sliding if the config has `sliding_window`, otherwise full."""
    tokens = config.count_or_none("sliding_window")
    return Full() if tokens is None else Sliding(tokens)


def windows_of(config: Config, near: AttentionWindow, unstated: Sequence[str]) -> list[AttentionWindow]:
    """The attention window of every layer, from `layer_types`, or from `unstated` if the config has no `layer_types`.

    `near` is the window of sliding layers; a config with a sliding layer must state it.
    """
    n_layers, names = layers_of(config), config.stated("layer_types")
    names = unstated if names is None else names
    known: dict[str, AttentionWindow] = {FULL: Full(), "attention": Full(), SLIDING: near}
    if not isinstance(names, list) or any(not isinstance(name, str) or name not in known for name in names):
        raise config.refusal("layer_types", f"a list that names {FULL} or {SLIDING} for each layer")
    if len(names) != n_layers:
        raise config.refusal("layer_types", f"a list of {n_layers} names, one for each layer")
    if SLIDING in names and near == Full():
        raise SpecError(
            f"{config.path}: layers have {SLIDING}, but no window; set 'sliding_window' and, if the config has it, "
            "'use_sliding_window'"
        )
    return [known[name] for name in names]


def every_nth(config: Config) -> list[str]:
    """The default kinds of layers: every `sliding_window_pattern`-th layer is full, the others are sliding."""
    if config.stated("layer_types") is not None:
        return []
    pattern = config.count("sliding_window_pattern")
    return [SLIDING if (layer + 1) % pattern else FULL for layer in range(layers_of(config))]


def upper_windows(config: Config) -> list[AttentionWindow]:
    """The windows of Qwen: sliding from layer `max_window_layers` on, if `use_sliding_window` is true."""
    near = window_of(config) if config.flag("use_sliding_window") else Full()
    first = config.count("max_window_layers", least=0)
    unstated = [SLIDING if near != Full() and layer >= first else FULL for layer in range(layers_of(config))]
    return windows_of(config, near, unstated)
