"""Estimated time of measuring several engines, and the sets of engines to choose from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge.engines.choice import engine_of
from tui.view_state import ModelSummary

_OPENING_S = {"onnx": 2.0, "mlx": 2.5, "torch": 8.0}
"""Seconds to start the processes of an engine and to load the model. Measured on two slow cores."""

_BYTES_PER_S = 10e9
"""Assumed memory bandwidth of an unknown processor."""


@dataclass(frozen=True)
class EngineSet:
    """Engines to measure together; in a comparison the first is the reference."""

    title: str
    engines: tuple[str, ...]

    @property
    def others(self) -> tuple[str, ...]:
        return self.engines[1:]


class EngineSets:
    """Cycles through the sets of engines for the current model."""

    def __init__(
        self, sets_for: Callable[[str, tuple[str, ...], str], tuple[EngineSet, ...]], installed: tuple[str, ...]
    ) -> None:
        self._sets_for, self._installed, self._at = sets_for, installed, 0

    def available(self, model: ModelSummary | None) -> tuple[EngineSet, ...]:
        """All sets; none without a model that can be opened."""
        return self._sets_for(model.engine, self._installed, model.stored) if model and model.source else ()

    def current(self, model: ModelSummary | None) -> EngineSet | None:
        """The current set."""
        found = self.available(model)
        return found[self._at % len(found)] if found else None

    def next(self) -> None:
        """Chooses the next set."""
        self._at += 1


def opening_s(engines: Sequence[str]) -> float:
    """Seconds until each engine has loaded in its process."""
    return sum(_OPENING_S[engine_of(engine).name] for engine in engines)


def token_s(model: ModelSummary, token_ns: float | None) -> float:
    """Seconds of one decode step: as timed, or estimated from the bytes of its weights."""
    return model.parameters * 4 / _BYTES_PER_S if token_ns is None else token_ns / 1e9


def show_duration(seconds: float) -> str:
    """`about 15 s`, `about 2 min`."""
    if seconds < 90:
        return f"about {max(5, 5 * round(seconds / 5))} s"
    return f"about {round(seconds / 60)} min"
