"""The BLAS that MLX uses for matrix products on the CPU, and loading a fast one.

On Linux, mlx-cpu ships the reference BLAS of netlib: single-threaded and dozens of times slower.
An OpenBLAS loaded before it with global symbols is used instead. The OpenBLAS in numpy's wheel
does not work: its symbols have a prefix and a suffix (`scipy_cblas_sgemm64_`).
"""

import ctypes
import ctypes.util
import os
import sys
from pathlib import Path

NAMES = ("libopenblas.so.0", "libopenblas.so", "libopenblasp.so.0", "libopenblaso.so.0")
NETLIB = "reference BLAS (single-threaded, slow); on Debian and Ubuntu: apt-get install libopenblas0"


class _Symbol(ctypes.Structure):
    """Result of `dladdr` for an address; the first field is the file it was loaded from."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def preload_blas() -> None:
    """Loads OpenBLAS for MLX. Does nothing on other systems than Linux, or if MLX or a BLAS is already loaded."""
    if sys.platform != "linux" or "mlx.core" in sys.modules or _global_blas() is not None:
        return
    found = ctypes.util.find_library("openblas")
    for name in (*NAMES, *([found] if found else [])):
        try:
            ctypes.CDLL(name, mode=os.RTLD_GLOBAL | os.RTLD_NOW)
        except OSError:
            continue
        return


def set_blas_threads(threads: int | None) -> int:
    """Sets the number of threads of the BLAS behind MLX (None keeps its default); returns the number it uses."""
    if sys.platform != "linux":
        return threads or os.cpu_count() or 1
    try:
        blas = ctypes.CDLL(None)
        if threads is not None:
            blas.openblas_set_num_threads(threads)
        return int(blas.openblas_get_num_threads())
    except AttributeError:
        return 1


def blas_behind_mlx() -> str:
    """The BLAS that MLX calls or would call, in a few words."""
    if sys.platform == "darwin":
        return "Accelerate"
    preload_blas()
    path = _global_blas()
    if path is None:
        return NETLIB
    blas = ctypes.CDLL(None)
    try:
        blas.openblas_get_config.restype = ctypes.c_char_p
        version = " ".join(blas.openblas_get_config().decode().split()[:2])
        blas.openblas_get_corename.restype = ctypes.c_char_p
        return f"{version} ({blas.openblas_get_corename().decode()} kernels, {path.name})"
    except AttributeError:
        return path.name


def _global_blas() -> Path | None:
    """The file behind a `cblas_sgemm` that every library sees, if there is one."""
    try:
        product = ctypes.cast(ctypes.CDLL(None).cblas_sgemm, ctypes.c_void_p)
    except AttributeError:
        return None
    symbol = _Symbol()
    ctypes.CDLL(None).dladdr(product, ctypes.byref(symbol))
    return Path(os.fsdecode(symbol.file or b"unknown"))
