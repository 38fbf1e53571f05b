"""What tests of GGUF files share: small models of transformers, converted once."""

from collections.abc import Callable
from functools import cache

import pytest

from tests.models.sources.architectures import CASES, SMALL, Small


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Small]:
    """A model of `CASES`, written when it is first asked for."""

    @cache
    def written(name: str) -> Small:
        from tests.models.sources.converted import write_gguf
        from tests.reference import write_reference

        folder = tmp_path_factory.mktemp("models") / name
        model = write_reference(CASES[name](SMALL), folder)
        write_gguf(folder, folder.with_suffix(".gguf"), "F32")
        return Small(model, folder, folder.with_suffix(".gguf"))

    return written
