"""Checks of this machine: engines, export, cores, memory, cache; with a fix for each problem."""

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edge.engines.choice import BESIDE, PACKAGES, PROVIDERS


@dataclass(frozen=True, kw_only=True)
class Check:
    """The result of one check.

    Attributes:
        name: What was checked, such as `engine onnx`.
        detail: What was found, such as a version.
        fix: The command or step that fixes the problem; empty where there is none.
    """

    name: str
    works: bool
    detail: str
    fix: str = ""


_MODULES = {"onnx": "export.onnx_runtime", "torch": "torch", "mlx": "mlx.core"}
"""The module that is imported to test an engine's package."""

_EXTRAS = {"onnx": "edge-lens", "torch": "edge-lens[torch]", "mlx": "edge-lens[mlx]"}
"""The requirement that installs an engine's package."""


def run_checks() -> tuple[Check, ...]:
    """Runs every check. Changes nothing."""
    blas = _blas()  # before MLX is imported: MLX uses the BLAS that is loaded by then
    return (
        Check(name="python", works=sys.version_info >= (3, 11), detail=sys.version.split()[0]),
        *(_engine(name) for name in PACKAGES),
        _package("llama.cpp, optional", "llama-cpp-python", BESIDE["llama.cpp"], _install("edge-lens[llama]")),
        _providers(),
        blas,
        exporter(),
        _cores(),
        _memory(),
        _cache(),
    )


def can_run(checks: tuple[Check, ...]) -> bool:
    """Whether models can run: the onnx engine works."""
    return any(check.name == "engine onnx" and check.works for check in checks)


def remedy(engine: str) -> str:
    """The command that installs an engine's package."""
    return _install(_EXTRAS[engine])


def _engine(name: str) -> Check:
    return _package(f"engine {name}", PACKAGES[name], _MODULES[name], remedy(name))


def _package(name: str, package: str, module: str, missing: str) -> Check:
    """Whether a package can be imported; `missing` is the command that installs it."""
    failure = _import_failure(module)
    installed = _version(package)
    found = f"{package} {installed}" if installed else f"{package} is not installed"
    if failure is None:
        return Check(name=name, works=True, detail=found)
    if not installed:
        return Check(name=name, works=False, detail=found, fix=missing)
    found += f", but its import fails: {failure}"
    return Check(name=name, works=False, detail=found, fix=_install(f"--force-reinstall {package}"))


def _providers() -> Check:
    """Execution providers of the installed ONNX Runtime. Other builds, such as onnxruntime-gpu, add others."""
    if _import_failure(_MODULES["onnx"]) is not None:
        return Check(
            name="providers of onnx", works=False, detail="onnxruntime is not installed", fix=_install("onnxruntime")
        )
    from export.onnx_runtime import ort

    there = ort.get_available_providers()
    found = [name for name, provider in PROVIDERS.items() if provider in there]
    return Check(name="providers of onnx", works=True, detail=", ".join(found))


def _blas() -> Check:
    """The BLAS that MLX uses on the CPU. The slow reference BLAS passes; the fix names a faster one."""
    if _version("mlx") is None:
        return Check(name="BLAS behind mlx", works=True, detail="mlx is not installed")
    from edge.engines.blas import NETLIB, blas_behind_mlx

    found = blas_behind_mlx()
    if found != NETLIB:
        return Check(name="BLAS behind mlx", works=True, detail=found)
    what, _, remedy = NETLIB.partition("; ")
    return Check(name="BLAS behind mlx", works=True, detail=what, fix=remedy)


def exporter() -> Check:
    """Whether models can be exported. Imports nothing."""
    lacking = [name for name in ("torch", "onnx", "onnxscript") if _version(name) is None]
    if lacking:
        found = f"{', '.join(lacking)} not installed; the bundled models run without"
        return Check(name="export", works=False, detail=found, fix=_install("edge-lens[export]"))
    found = ", ".join(f"{name} {_version(name)}" for name in ("torch", "onnx", "onnxscript"))
    return Check(name="export", works=True, detail=found)


def _cores() -> Check:
    import psutil

    physical, logical = psutil.cpu_count(logical=False), psutil.cpu_count()
    return Check(name="cores", works=True, detail=f"{physical or logical} physical, {logical} logical")


def _memory() -> Check:
    import psutil

    memory = psutil.virtual_memory()
    found = f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB free"
    enough = memory.available > 1e9
    return Check(name="memory", works=enough, detail=found, fix="" if enough else "close other programs")


def _cache() -> Check:
    """Whether the cache of graphs and weights can be written, and its size."""
    from models.cache_folder import CACHE_VARIABLE, cache_folder

    folder = cache_folder()
    nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        found = f"{folder}: {_size_bytes(folder) / 1e6:,.0f} MB; it can be deleted, Edge rebuilds it"
        return Check(name="cache", works=True, detail=found)
    found = f"{folder} cannot be written"
    return Check(name="cache", works=False, detail=found, fix=f"export {CACHE_VARIABLE}=FOLDER, a writable folder")


def _size_bytes(folder: Path) -> int:
    """Total size of all files below a folder; files deleted meanwhile count as 0."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_size
    return total


def _install(what: str) -> str:
    """The command that installs into the running Python."""
    return f"{sys.executable} -m pip install {what if what.startswith('-') else repr(what)}"


def _import_failure(module: str) -> str | None:
    """Why `module` cannot be imported, in one line; None if it can."""
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
