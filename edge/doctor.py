"""What works on this machine: engines, export, threads, memory, cache; and what mends what does not."""

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edge.engines.choice import PACKAGES, PROVIDERS


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at.

    Attributes:
        found: What is there, in a few words.
        fix: The command or step that mends it; empty where nothing is to be done.
    """

    what: str
    works: bool
    found: str
    fix: str = ""


_MODULES = {"onnx": "export.onnx_runtime", "torch": "torch", "mlx": "mlx.core"}
"""The module whose import proves that an engine's package is whole."""

_EXTRAS = {"onnx": "edge-lens", "torch": "edge-lens[torch]", "mlx": "edge-lens[mlx]"}
"""What brings an engine's package."""


def examine() -> tuple[Finding, ...]:
    """Looks at everything that Edge stands on; nothing is changed."""
    blas = _blas()  # before MLX is loaded: whichever BLAS is there by then serves it
    return (
        Finding(what="python", works=sys.version_info >= (3, 11), found=sys.version.split()[0]),
        *(_engine(name) for name in PACKAGES),
        _providers(),
        blas,
        exporter(),
        _cores(),
        _memory(),
        _cache(),
    )


def can_run(findings: tuple[Finding, ...]) -> bool:
    """Whether models can be run: the onnx engine works."""
    return any(finding.what == "engine onnx" and finding.works for finding in findings)


def remedy(engine: str) -> str:
    """The command that installs what an engine computes with."""
    return _install(_EXTRAS[engine])


def _engine(name: str) -> Finding:
    package = PACKAGES[name]
    failure = _import_failure(_MODULES[name])
    installed = _version(package)
    found = f"{package} {installed}" if installed else f"{package} is not installed"
    if failure is None:
        return Finding(what=f"engine {name}", works=True, found=found)
    if not installed:
        return Finding(what=f"engine {name}", works=False, found=found, fix=remedy(name))
    found += f", but it does not load: {failure}"
    return Finding(what=f"engine {name}", works=False, found=found, fix=_install(f"--force-reinstall {package}"))


def _providers() -> Finding:
    """Where the installed ONNX Runtime can compute. Other providers come with builds of other names."""
    if _import_failure(_MODULES["onnx"]) is not None:
        return Finding(what="providers of onnx", works=False, found="no onnxruntime here", fix=_install("onnxruntime"))
    from export.onnx_runtime import ort

    there = ort.get_available_providers()
    found = [name for name, provider in PROVIDERS.items() if provider in there]
    return Finding(what="providers of onnx", works=True, found=", ".join(found))


def _blas() -> Finding:
    """What multiplies matrices behind MLX; a slow one works, and a faster one is suggested."""
    if _version("mlx") is None:
        return Finding(what="BLAS behind mlx", works=True, found="no mlx here")
    from edge.engines.blas import NETLIB, blas_behind_mlx

    found = blas_behind_mlx()
    if found != NETLIB:
        return Finding(what="BLAS behind mlx", works=True, found=found)
    what, _, remedy = NETLIB.partition("; ")
    return Finding(what="BLAS behind mlx", works=True, found=what, fix=remedy)


def exporter() -> Finding:
    """Whether models can be exported; nothing is imported for it."""
    lacking = [name for name in ("torch", "onnx", "onnxscript") if _version(name) is None]
    if lacking:
        found = f"{', '.join(lacking)} not installed; models of the zoo run without"
        return Finding(what="export", works=False, found=found, fix=_install("edge-lens[export]"))
    found = ", ".join(f"{name} {_version(name)}" for name in ("torch", "onnx", "onnxscript"))
    return Finding(what="export", works=True, found=found)


def _cores() -> Finding:
    import psutil

    physical, logical = psutil.cpu_count(logical=False), psutil.cpu_count()
    return Finding(what="cores", works=True, found=f"{physical or logical} physical, {logical} logical")


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    found = f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB free"
    enough = memory.available > 1e9
    return Finding(what="memory", works=enough, found=found, fix="" if enough else "close other programs")


def _cache() -> Finding:
    """Whether graphs and quantized weights can be kept, asked of the nearest folder that exists, and what they take."""
    from export.bundle import CACHE_VARIABLE, cache_folder

    folder = cache_folder().parent
    nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        found = f"{folder}: {_held_bytes(folder) / 1e6:,.0f} MB; graphs and weights deleted there are made anew"
        return Finding(what="cache", works=True, found=found)
    found = f"{folder} cannot be written"
    return Finding(what="cache", works=False, found=found, fix=f"export {CACHE_VARIABLE}=FOLDER, a folder of yours")


def _held_bytes(folder: Path) -> int:
    """What all files below a folder take; those that go meanwhile take nothing."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size
    return total


def _install(what: str) -> str:
    """The command that installs into the very Python that runs here."""
    return f"{sys.executable} -m pip install {what if what.startswith('-') else repr(what)}"


def _import_failure(module: str) -> str | None:
    """Why `module` cannot be imported, in one line; None where it can."""
    try:
        import_module(module)
    except Exception as error:  # a broken package may raise anything
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
