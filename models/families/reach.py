"""How far each layer sees, as configs of transformers say it."""

from models.errors import SpecError
from models.families.config import Config
from models.spec import Full, Reach, Sliding


def window_of(config: Config) -> Reach:
    """One window for all layers, where the config has one."""
    return Full() if config.keys.get("sliding_window") is None else Sliding(config.count("sliding_window"))


def reaches_of(config: Config) -> list[Reach]:
    """The reach of every layer: by `layer_types`, or a window from `max_window_layers` on where windows are used."""
    n_layers = config.count("num_hidden_layers")
    near = window_of(config) if config.flag("use_sliding_window", False) else Full()
    kinds = config.keys.get("layer_types")
    if kinds is None:
        first = config.keys.get("max_window_layers")
        first = n_layers if first is None else first
        return [near if layer >= first else Full() for layer in range(n_layers)]
    known: dict[str, Reach] = {"full_attention": Full(), "sliding_attention": near}
    if not isinstance(kinds, list) or len(kinds) != n_layers or any(kind not in known for kind in kinds):
        raise SpecError(
            f"{config.path}: 'layer_types' is {kinds!r}; it must name one of {', '.join(known)} for each of "
            f"{n_layers} layers"
        )
    return [known[kind] for kind in kinds]
