"""Edge runs decoder language models in three runtimes and shows what happens inside."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from edge.edits import Ablate as Ablate
    from edge.edits import ChooseExpert as ChooseExpert
    from edge.edits import Noise as Noise
    from edge.edits import Replace as Replace
    from edge.edits import ScaleExpert as ScaleExpert
    from edge.edits import ScaleHead as ScaleHead
    from edge.edits import ScaleNeuron as ScaleNeuron
    from edge.sampling import Sampling as Sampling
    from edge.session import Model as Model
    from edge.session import Token as Token
    from edge.session import load as load
    from edge.timing import SublayerTiming as SublayerTiming
    from edge.trace import Trace as Trace
    from edge.trace import open_trace as open_trace
    from edge.watch import Watch as Watch
    from models.chat import Turn as Turn
    from models.errors import EdgeError as EdgeError
    from models.errors import MisuseError as MisuseError

_HOMES = {
    "Model": "edge.session",
    "Token": "edge.session",
    "load": "edge.session",
    "open_trace": "edge.trace",
    "Noise": "edge.edits",
    "Replace": "edge.edits",
    "ScaleExpert": "edge.edits",
    "ScaleHead": "edge.edits",
    "ScaleNeuron": "edge.edits",
    "Ablate": "edge.edits",
    "ChooseExpert": "edge.edits",
    "Sampling": "edge.sampling",
    "SublayerTiming": "edge.timing",
    "Trace": "edge.trace",
    "Watch": "edge.watch",
    "Turn": "models.chat",
    "EdgeError": "models.errors",
    "MisuseError": "models.errors",
}
"""Module of each public name. A name is imported at its first use, so `import edge` stays fast."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"edge has no '{name}'")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
