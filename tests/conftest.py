"""What all tests share: a small checkpoint folder, and a separate cache."""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import settings

# As the torch engine has it; tests that import torch themselves would otherwise fix another choice first.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Tests side by side already keep all cores busy; engines that take all of them, too, wait for one another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    psutil.cpu_count = lambda logical=True: 1

# A slow machine is no fault of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_sessionstart() -> None:
    """Test modules import MLX on their own: it keeps the BLAS that it finds then, and the reference one is slow."""
    from edge.engines.blas import preload_blas

    preload_blas()


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Prepared graphs go to a folder of this test run, so that none from before can pass for new."""
    before, own = os.environ.get("EDGE_CACHE"), tmp_path_factory.getbasetemp()
    # Processes that share the tests share the graphs: each is exported by the first process that needs it.
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    os.environ["EDGE_CACHE"] = str(shared / "cache")
    yield
    if before is None:
        del os.environ["EDGE_CACHE"]
    else:
        os.environ["EDGE_CACHE"] = before


@pytest.fixture(scope="session")
def byte_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama over bytes, context 64, as a checkpoint folder."""
    from tests.folders import write_byte_llama

    return write_byte_llama(tmp_path_factory.mktemp("models") / "byte-llama")
