"""The bundled models: trained checkpoints that are part of Edge, one folder each."""

from pathlib import Path

_ZOO = Path(__file__).parent


def zoo_names() -> tuple[str, ...]:
    """Names of the bundled models."""
    return tuple(sorted(config.parent.name for config in _ZOO.glob("*/config.json")))


def zoo_folder(name: str) -> Path | None:
    """The folder of a bundled model; None for an unknown name."""
    return _ZOO / name if name in zoo_names() else None
