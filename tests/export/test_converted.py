"""Weights in other formats are converted once: later sessions map the results."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from export.converted import convert, session_values
from export.initializers import initializer_values
from export.layout import Layout, layout_of
from export.quantizing import prepare_quantized
from models.cache_folder import cache_folder
from models.checkpoint import Checkpoint
from models.precision import Mixed, Scheme, Zero, precision_of
from models.quantized import QuantizedMatrices
from models.safetensors_file import tensor_places
from tests.mixed import mixed_checkpoint
from tests.tiny import tiny_checkpoint


@dataclass(frozen=True)
class FromFile(Checkpoint):
    """A checkpoint whose weights come from a file."""

    file: Path = Path()

    @property
    def files(self) -> tuple[Path, ...]:
        return (self.file,)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "converted"


def from_file(folder: Path, tied: bool = True) -> FromFile:
    held, file = mixed_checkpoint(tied), folder / "model.gguf"
    if not file.exists():
        file.write_bytes(b"weights")
    return FromFile(held.source, held.spec, held.weights, held.quantized, file)


def values(checkpoint: Checkpoint, layout: Layout) -> tuple[dict[str, np.ndarray], list[str]]:
    said: list[str] = []
    return dict(session_values(checkpoint, layout, said.append)), said


def test_the_second_opening_reads_no_matrix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = from_file(tmp_path)
    for layout in (layout_of(held), layout_of(held, Mixed(0))):
        first, said = values(held, layout)
        assert said[0].startswith("converting quantized weights: ") and len(said) > 1
        with monkeypatch.context() as patched:
            patched.setattr(QuantizedMatrices, "__getitem__", lambda *_: pytest.fail("a matrix was read"))
            again, said = values(held, layout)
        assert not said
        made = dict(initializer_values(held, layout))
        assert list(made) == list(first) == list(again)
        for name, value in made.items():
            assert np.array_equal(value, first[name]) and np.array_equal(value, again[name]), name
            assert value.dtype == again[name].dtype and isinstance(again[name], np.memmap)
            assert again[name].flags.aligned and again[name].flags.c_contiguous, f"{name} must be copied to be used"


def test_a_tied_head_and_the_embedding_share_one_copy(tmp_path: Path, cache: Path) -> None:
    found, _ = values(from_file(tmp_path), layout_of(from_file(tmp_path), Mixed(0)))
    (file,) = cache.rglob("*.safetensors")
    assert not [name for name in tensor_places(file) if name.startswith("head.") and name != "head.norm.weight"]
    for part in ("codes", "scales", "zeros"):
        assert np.shares_memory(found[f"head.{part}"], found[f"embed.{part}"])
    own, _ = values(from_file(tmp_path, tied=False), layout_of(from_file(tmp_path, tied=False)))
    assert not np.shares_memory(own["head.codes"], own["embed.codes"])


def test_a_damaged_file_is_made_anew(tmp_path: Path, cache: Path) -> None:
    held = from_file(tmp_path)
    want = {name: np.array(value) for name, value in values(held, layout_of(held))[0].items()}
    (file,) = cache.rglob("*.safetensors")
    content = file.read_bytes()
    for damaged in (
        content[:-9],
        content[:100],
        content.replace(b"layers.1.attn.out.order", b"layers.1.attn.out.oooer"),
    ):
        file.write_bytes(damaged)
        found, said = values(held, layout_of(held))
        assert said, "damaged weights were used"
        assert all(np.array_equal(found[name], value) for name, value in want.items())
    assert file.read_bytes() == content


def test_changed_weights_are_converted_again(tmp_path: Path, cache: Path) -> None:
    held = from_file(tmp_path)
    convert(held, layout_of(held), lambda _: None)
    assert len(list(cache.iterdir())) == 1
    os.utime(held.file, ns=(1, 1))
    assert values(held, layout_of(held))[1]
    assert len(list(cache.iterdir())) == 2
    assert not list(cache.rglob("*partial*"))


def test_weights_that_edge_quantized_are_used_in_place_unless_they_need_planes() -> None:
    name = "llama-one-kv-head-odd-sizes"
    held = prepare_quantized(tiny_checkpoint(name), Scheme(8, 32, Zero.WHOLE), lambda _: None)
    assert convert(held, layout_of(held), lambda _: None) is None
    exact = convert(held, layout_of(held, precision_of("int8-acc0")), lambda _: None)
    again = convert(held, layout_of(held, precision_of("int8-acc1")), lambda _: pytest.fail("converted twice"))
    assert exact is not None and exact == again
    file = next(iter(exact.values())).file
    assert any(name.endswith(".filler") for name in tensor_places(file)), "zeros fill whole numbers by chance"
    assert all(place.read().flags.aligned for place in exact.values())


def test_weights_from_memory_are_not_converted() -> None:
    held = mixed_checkpoint()
    assert convert(held, layout_of(held), lambda _: None) is None and not cache_folder("converted").exists()
