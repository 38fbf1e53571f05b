"""Energy from the hardware counters of the machine; None if it has no readable counter."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

POWERCAP = Path("/sys/class/powercap")

APPLE = "zeus_apple_silicon"
"""The package that reads Apple's counters (IOReport) without administrator rights."""


@runtime_checkable
class Counter(Protocol):
    """An energy counter.

    Attributes:
        basis: What is measured, in a few words.
    """

    basis: str

    def begin(self) -> None:
        """Starts the measurement."""

    def end(self) -> float:
        """Joules since `begin`."""


@dataclass(frozen=True)
class _Package:
    """Counter of one processor package, in microjoules; it wraps around at its maximum."""

    folder: Path

    def read_uj(self) -> int:
        return int((self.folder / "energy_uj").read_text())

    def since_uj(self, before_uj: int) -> int:
        spent_uj = self.read_uj() - before_uj
        return spent_uj if spent_uj >= 0 else spent_uj + int((self.folder / "max_energy_range_uj").read_text())


class Rapl:
    """Intel and AMD RAPL counters, read through Linux powercap."""

    basis = "RAPL, all processor packages, including idle power and other processes"

    def __init__(self, packages: tuple[Path, ...]) -> None:
        self._packages = tuple(_Package(folder) for folder in packages)
        self._before_uj: Mapping[_Package, int] = {}

    def begin(self) -> None:
        self._before_uj = {package: package.read_uj() for package in self._packages}

    def end(self) -> float:
        return sum(package.since_uj(before_uj) for package, before_uj in self._before_uj.items()) / 1e6


class AppleCounter:
    """Counters of Apple silicon: CPU, DRAM, GPU and neural engine."""

    basis = "IOReport: CPU, DRAM, GPU and ANE, including idle power and other processes"

    def __init__(self) -> None:
        self._monitor: Any = import_module(APPLE).AppleEnergyMonitor()

    def begin(self) -> None:
        self._monitor.begin_window("edge")

    def end(self) -> float:
        spent = self._monitor.end_window("edge")
        parts = (spent.cpu_total_mj, spent.dram_mj, spent.gpu_mj, spent.ane_mj)
        return sum(part or 0 for part in parts) / 1e3


def _packages(powercap: Path) -> Iterator[Path]:
    """Packages with a readable counter."""
    for folder in sorted(powercap.glob("intel-rapl:*")):
        try:
            if (folder / "name").read_text().startswith("package"):
                _Package(folder).read_uj()
                yield folder
        except (OSError, ValueError):
            continue  # on many systems only administrators can read it


def open_counter(powercap: Path = POWERCAP) -> Counter | None:
    """The counter of this machine; None if there is no readable one."""
    if sys.platform.startswith("darwin") and find_spec(APPLE) is not None:
        return AppleCounter()
    packages = tuple(_packages(powercap))
    return Rapl(packages) if packages else None


def energy_basis() -> str:
    """How energy is measured on this machine, or why it is not."""
    counter = open_counter()
    if counter is not None:
        return counter.basis
    if sys.platform.startswith("darwin"):
        return f"not measured; to read this machine's counters: pip install {APPLE.replace('_', '-')}"
    return f"not measured: no readable energy counter in {POWERCAP}"
