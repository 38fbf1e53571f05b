"""What the tests of training share: tiny books, their tokens, and one thread."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from models.training.corpus import Corpus, open_corpus
from tests.models.runs import TINY, write_books


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Tiny tensors on several threads take longer than on one, and sums may come in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with books of a few words in it; their tokens are kept there too."""
    work = tmp_path_factory.mktemp("work")
    write_books(work)
    return work


@pytest.fixture(scope="session")
def corpus(work: Path) -> Corpus:
    return open_corpus(work, work, TINY.vocab_size)
