"""The MLX decoder is the torch decoder: the same parameters, the same value at every site."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from models.decoder import Decoder as TorchDecoder
from models.kernels import FullPass
from models.parameters import parameter_shapes
from models.sites import LOGITS, sites_of
from models.spec import Activation
from tests.tiny import TINY_SPECS, tiny_weights

mx = pytest.importorskip("mlx.core", reason="needs mlx, which is not installed here")

from mlx.utils import tree_flatten  # noqa: E402

from models import mlx_cached, mlx_decoder, mlx_parts, torch_parts  # noqa: E402
from models.mlx_cached import STEP, Cached, CachedOnCpu  # noqa: E402

IDS = np.array([3, 1, 41, 59, 26, 5, 35, 8, 9, 7, 9, 3], np.int64)
CLOSE = 5e-5
"""Largest difference between two float32 decoders, relative to the largest value of a site."""

Values = dict[str, np.ndarray]


def off_by(got: np.ndarray, want: np.ndarray) -> float:
    """The largest difference, relative to the largest value."""
    assert got.shape == want.shape, f"shapes differ: {got.shape}, not {want.shape}"
    return float(np.abs(got - want).max() / max(1e-6, float(np.abs(want).max())))


def mlx_of(name: str) -> mlx_decoder.Decoder:
    spec = TINY_SPECS[name]
    decoder = mlx_decoder.Decoder(spec)
    decoder.load_weights([(key, mx.array(array)) for key, array in tiny_weights(spec, seed=0).items()])
    return decoder


def torch_values(name: str) -> Values:
    """Every site of a full pass of the torch decoder."""
    spec = TINY_SPECS[name]
    decoder = TorchDecoder(spec)
    decoder.load_state_dict({key: torch.from_numpy(array) for key, array in tiny_weights(spec, seed=0).items()})
    values: Values = {}

    def see(site: str, value: torch.Tensor, rows: torch.Tensor | None = None) -> torch.Tensor:
        values[site] = value.numpy()
        return value

    with torch.inference_mode():
        full = FullPass(len(IDS))
        decoder(torch.from_numpy(IDS), full.positions, full, see)
    return values


def mlx_values(decoder: mlx_decoder.Decoder, cache: Cached, chunk: int) -> Values:
    """Every site of the MLX decoder, fed `chunk` tokens at a time."""
    parts: dict[str, list[np.ndarray]] = {}

    def see(site: str, value: mx.array, rows: mx.array | None = None) -> mx.array:
        parts.setdefault(site, []).append(np.array(value))
        return value

    cache.grow(len(IDS))
    for start in range(0, len(IDS), chunk):
        ids = IDS[start : start + chunk]
        cache.begin(len(ids))
        decoder(mx.array(ids), cache.positions, cache, see)
        cache.finish()
    return {site: np.concatenate(part) for site, part in parts.items()}


@pytest.fixture(params=TINY_SPECS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[Cached, CachedOnCpu], ids=["fused", "tables"])
def cache(request: pytest.FixtureRequest, name: str) -> Iterator[Cached]:
    yield request.param(TINY_SPECS[name])


def test_parameters_have_the_names_and_shapes_of_the_spec(name: str) -> None:
    spec = TINY_SPECS[name]
    found = {key: tuple(array.shape) for key, array in tree_flatten(mlx_decoder.Decoder(spec).parameters())}
    assert found == parameter_shapes(spec)


@pytest.mark.parametrize("chunk", [len(IDS), 5, 1])
def test_every_site_agrees_with_torch_however_the_tokens_are_fed(name: str, cache: Cached, chunk: int) -> None:
    want, got = torch_values(name), mlx_values(mlx_of(name), cache, chunk)
    assert list(got) == list(sites_of(TINY_SPECS[name])), "sites are not seen in the order of models.sites"
    for site, values in want.items():
        worst = off_by(got[site], values)
        assert worst < CLOSE, f"fed {chunk} at a time, {site} is the first site to differ, by {worst:.2g}"


@pytest.mark.parametrize("block", [1, 4, 7])
def test_attending_in_blocks_changes_nothing(name: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlx_cached, "BLOCK", block)
    want, got = torch_values(name)[LOGITS], mlx_values(mlx_of(name), CachedOnCpu(TINY_SPECS[name]), 11)[LOGITS]
    worst = off_by(got, want)
    assert worst < CLOSE, f"queries in blocks of {block} read other keys, logits off by {worst:.2g}"


def test_a_probe_can_replace_what_the_decoder_goes_on_with(name: str) -> None:
    decoder, cache = mlx_of(name), CachedOnCpu(TINY_SPECS[name])
    cache.grow(len(IDS))
    cache.begin(len(IDS))

    def zero(site: str, value: mx.array, rows: mx.array | None = None) -> mx.array:
        return mx.zeros_like(value) if site.endswith(("attn.output", "ffn.output")) else value

    stream = decoder.stream(mx.array(IDS), cache.positions, cache, zero)
    want = decoder.embed(mx.array(IDS), cache.positions)
    for block in decoder.layers:
        for norm in (block.attn_sum, block.ffn_sum):
            want = want if norm is None else norm(want)
    worst = off_by(np.array(stream), np.array(want))
    assert worst == 0, f"with every sublayer ablated only norms of the sum change the embedding, off by {worst:.2g}"


@pytest.mark.parametrize("kind", [Cached, CachedOnCpu])
def test_growing_keeps_what_was_fed_and_comes_in_whole_steps(kind: type[Cached]) -> None:
    name = "layers-that-differ"
    decoder, cache = mlx_of(name), kind(TINY_SPECS[name])
    whole = mlx_values(decoder, kind(TINY_SPECS[name]), len(IDS))[LOGITS]
    cache.grow(1)
    assert cache.capacity == STEP
    cache.begin(6)
    decoder(mx.array(IDS[:6]), cache.positions, cache)
    cache.finish()
    cache.grow(STEP + 1)
    assert cache.capacity == 2 * STEP
    cache.begin(6)
    rest = decoder(mx.array(IDS[6:]), cache.positions, cache)
    cache.finish()
    assert cache.fed == len(IDS)
    worst = off_by(np.array(rest), whole[6:])
    assert worst < CLOSE, f"tokens fed after growing see something else, off by {worst:.2g}"


@pytest.mark.parametrize("activation", Activation)
def test_activations_agree_with_torch(activation: Activation) -> None:
    x = np.linspace(-12, 12, 4801, dtype=np.float32)
    want = torch_parts.activate(activation, torch.from_numpy(x)).numpy()
    worst = float(np.abs(np.array(mlx_parts.activate(activation, mx.array(x))) - want).max())
    assert worst < 2e-6, f"{activation} differs by {worst:.2g}"
