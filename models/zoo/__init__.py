"""The zoo: trained checkpoints that come with Edge, one folder each, found without reading any of them."""

from pathlib import Path

_ZOO = Path(__file__).parent


def zoo_names() -> tuple[str, ...]:
    """The checkpoints that come with Edge, by name."""
    return tuple(sorted(config.parent.name for config in _ZOO.glob("*/config.json")))


def zoo_folder(name: str) -> Path | None:
    """The folder of one of them; None where the zoo has no such name."""
    return _ZOO / name if name in zoo_names() else None
