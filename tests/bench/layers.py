"""Compares the time of one layer from the difference of a deep and a shallow model with that from `time_sublayers`.

    python -m tests.bench.layers --engine onnx --engine torch

The time of one layer is the difference of two models divided by the difference of their layers. It is taken over many
layers, because the memory pages of a session change its speed by up to 10%, which is more than one layer takes. It is
taken over several rounds, each with models that are opened again. Whole decode passes are timed without
instrumentation, with weights that are larger than the CPU caches.
"""

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter_ns

import numpy as np

from edge.engines.base import Engine
from edge.generate import chunks
from edge.session import Model
from edge.variant import Variant, open_variant
from edge.watch import Watch
from tests.bench.checkpoint import LLAMA_135M, write_checkpoint

AIM = 0.15
"""Largest relative difference of the two times."""

_BLOCK = 10
"""Passes of one model before the passes of the other."""


@dataclass(frozen=True)
class Layer:
    """The time of one layer on one engine, in milliseconds, for each round.

    Attributes:
        by_difference_ms: Median pass of the deep model minus the median pass of the shallow one, per additional layer.
        by_parts_ms: Mean time of attention and FFN over all layers except the first and the last.
    """

    by_difference_ms: tuple[float, ...]
    by_parts_ms: tuple[float, ...]

    @property
    def difference(self) -> float:
        """Relative difference of the two times, from medians over rounds."""
        return median(self.by_parts_ms) / median(self.by_difference_ms) - 1


def middle_layer_ms(parts_ns: dict[str, float], layers: int) -> float:
    """Mean time of a layer's two sublayers, without the first and the last layer."""
    middle = range(1, layers - 1)
    took_ns = sum(parts_ns[f"layers.{layer}.{sublayer}"] for layer in middle for sublayer in ("attn", "ffn"))
    return took_ns / len(middle) / 1e6


def measure(deep: Variant, shallow: Variant, layers: tuple[int, int], passes: int, depth: int) -> tuple[float, float]:
    """Milliseconds of one layer, by difference and by parts. Both models are reopened, and their runs interleaved.

    Args:
        layers: Number of layers of the deep model, and of the shallow one.
    """
    ids = [(7 + 31 * place) % 49_000 for place in range(depth + 1)]
    with open_variant(deep, _ignore) as first, open_variant(shallow, _ignore) as second:
        took_ns: tuple[list[int], list[int]] = ([], [])
        for worker in (first, second):
            worker.call(_passes_ns, ids, _BLOCK)
        while len(took_ns[0]) < passes:
            for worker, found in zip((first, second), took_ns, strict=True):
                found.extend(worker.call(_passes_ns, ids, _BLOCK))
        parts_ms = first.call(_parts_ms, ids, passes)
    return (median(took_ns[0]) - median(took_ns[1])) / (layers[0] - layers[1]) / 1e6, parts_ms


def _ignore(word: str) -> None:
    """Ignores progress."""


def _passes_ns(model: Model, ids: list[int], passes: int) -> list[int]:
    return model.with_engine(lambda engine: _engine_passes_ns(engine, ids, passes))


def _engine_passes_ns(engine: Engine, ids: list[int], passes: int) -> list[int]:
    """Times of decode passes of the last id; the cache is rewound after each."""
    engine.clear()
    engine.reserve(len(ids))
    for chunk in chunks(tuple(ids[:-1]), engine.spec):
        engine.feed(chunk, Watch.nothing())
    before = engine.mark()
    last, took_ns = np.array(ids[-1:], np.int64), []
    for _ in range(passes):
        started_ns = perf_counter_ns()
        engine.feed(last, Watch.nothing())
        took_ns.append(perf_counter_ns() - started_ns)
        engine.restore(before)
    return took_ns


def _parts_ms(model: Model, ids: list[int], repeats: int) -> float:
    timing = model.time_sublayers(ids, repeats=repeats)
    assert timing is not None
    return middle_layer_ms(timing.scaled_ns, model.spec.n_layers)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.layers", description=__doc__)
    parser.add_argument("--engine", action="append", help="engine and precision; may be repeated (default onnx, torch)")
    parser.add_argument("--layers", type=int, default=LLAMA_135M.n_layers, help="layers of the deep model (default 30)")
    parser.add_argument("--against", type=int, default=3, help="layers of the shallow model (default 3)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds, each with reopened models (default 7)")
    parser.add_argument("--passes", type=int, default=50, help="decode passes of each model per round (default 50)")
    parser.add_argument("--depth", type=int, default=64, help="tokens in the cache before the pass (default 64)")
    parser.add_argument("--threads", type=int, default=1, help="number of CPU threads (default 1)")
    options = parser.parse_args()
    if not 1 <= options.against < options.layers or options.layers < 3:
        parser.error("--layers must be at least 3, and --against smaller than --layers")
    return options


def main() -> int:
    options = _options()
    layers, reached = (options.layers, options.against), True
    print(f"{LLAMA_135M.name}, {layers[0]} and {layers[1]} layers, {options.threads} threads, depth {options.depth}")
    print(f"{options.rounds} rounds of {options.passes} passes each")
    with tempfile.TemporaryDirectory(prefix="edge-layers-") as temporary:
        os.environ["EDGE_CACHE"] = temporary
        folders = [Path(temporary) / f"{count}-layers" for count in layers]
        for folder, count in zip(folders, layers, strict=True):
            write_checkpoint(folder, replace(LLAMA_135M, n_layers=count))
        for engine in options.engine or ["onnx", "torch"]:
            deep, shallow = (Variant(folder, engine, options.threads) for folder in folders)
            found = [measure(deep, shallow, layers, options.passes, options.depth) for _ in range(options.rounds)]
            layer = Layer(*zip(*found, strict=True))
            reached &= abs(layer.difference) < AIM
            print(_row(engine, layer), flush=True)
    return 0 if reached else 1


def _row(engine: str, layer: Layer) -> str:
    times = []
    for name, found in (("by difference", layer.by_difference_ms), ("by parts", layer.by_parts_ms)):
        times.append(f"{name} {median(found):.3f} ms ({min(found):.3f}–{max(found):.3f})")
    verdict = "reached" if abs(layer.difference) < AIM else "missed"
    return f"{engine:12} one layer {', '.join(times)}: difference {layer.difference:+.1%}, target {AIM:.0%} {verdict}"


if __name__ == "__main__":
    sys.exit(main())
