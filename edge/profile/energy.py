"""Energy by the counters that a machine has; where it has none, there is no number."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

POWERCAP = Path("/sys/class/powercap")

APPLE = "zeus_apple_silicon"
"""The package that reads Apple's own counters (IOReport), which need no administrator."""


@runtime_checkable
class Counter(Protocol):
    """Counts joules between two moments.

    Attributes:
        basis: What is counted, in a few words.
    """

    basis: str

    def begin(self) -> None:
        """Starts to count."""

    def end(self) -> float:
        """Joules since `begin`."""


@dataclass(frozen=True)
class _Package:
    """One processor package's counter, in microjoules, which starts again at 0 behind its largest value."""

    folder: Path

    def read_uj(self) -> int:
        return int((self.folder / "energy_uj").read_text())

    def since_uj(self, before_uj: int) -> int:
        spent_uj = self.read_uj() - before_uj
        return spent_uj if spent_uj >= 0 else spent_uj + int((self.folder / "max_energy_range_uj").read_text())


class Rapl:
    """Intel's and AMD's running average power limit, read through Linux's powercap."""

    basis = "RAPL, all processor packages, what else runs and idling included"

    def __init__(self, packages: tuple[Path, ...]) -> None:
        self._packages = tuple(_Package(folder) for folder in packages)
        self._before_uj: Mapping[_Package, int] = {}

    def begin(self) -> None:
        self._before_uj = {package: package.read_uj() for package in self._packages}

    def end(self) -> float:
        return sum(package.since_uj(before_uj) for package, before_uj in self._before_uj.items()) / 1e6


class AppleCounter:
    """The counters of Apple's chips: processor, memory, graphics and neural engine."""

    basis = "IOReport: CPU, DRAM, GPU and ANE, what else runs and idling included"

    def __init__(self) -> None:
        self._monitor: Any = import_module(APPLE).AppleEnergyMonitor()

    def begin(self) -> None:
        self._monitor.begin_window("edge")

    def end(self) -> float:
        spent = self._monitor.end_window("edge")
        parts = (spent.cpu_total_mj, spent.dram_mj, spent.gpu_mj, spent.ane_mj)
        return sum(part or 0 for part in parts) / 1e3


def _packages(powercap: Path) -> Iterator[Path]:
    """The packages whose counter may be read here."""
    for folder in sorted(powercap.glob("intel-rapl:*")):
        try:
            if (folder / "name").read_text().startswith("package"):
                _Package(folder).read_uj()
                yield folder
        except (OSError, ValueError):
            continue  # many systems let only their administrator read it


def open_counter(powercap: Path = POWERCAP) -> Counter | None:
    """The counter of this machine; None where there is none that may be read."""
    if sys.platform.startswith("darwin") and find_spec(APPLE) is not None:
        return AppleCounter()
    packages = tuple(_packages(powercap))
    return Rapl(packages) if packages else None


def energy_basis() -> str:
    """What energy is counted by here, or why it is not."""
    counter = open_counter()
    if counter is not None:
        return counter.basis
    if sys.platform.startswith("darwin"):
        return f"not measured: pip install {APPLE.replace('_', '-')} reads this machine's counters"
    return f"not measured: no energy counter in {POWERCAP} that may be read"
