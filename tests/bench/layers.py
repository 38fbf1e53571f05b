"""One layer's time by difference, a deep model against a shallow one, beside what the parts of `time_sublayers` say.

    python -m tests.bench.layers --engine onnx --engine torch

Of k layers and k - 1, k - 1 and k - 2 ... every difference is one layer; their mean is that of the deepest and the
shallowest, shared out. It is taken over many layers at once because the pages that a session happens to get make it up
to a tenth faster or slower for good, which is more than one layer takes; and over several rounds, each with models that
are opened again. Whole decode passes are timed without instrumentation, on weights that no cache holds.
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
"""Share of the difference by which the parts may differ from it."""

_BLOCK = 10
"""Passes of one model before it is the other's turn."""


@dataclass(frozen=True)
class Layer:
    """One layer of one engine, in milliseconds, round by round.

    Attributes:
        by_difference_ms: Median pass of the deep model minus the median pass of the shallow one, per additional layer.
        by_parts_ms: Attention and FFN of a layer between the first and the last, on average.
    """

    by_difference_ms: tuple[float, ...]
    by_parts_ms: tuple[float, ...]

    @property
    def difference(self) -> float:
        """How far the parts are from the difference, as a share of it; medians over rounds."""
        return median(self.by_parts_ms) / median(self.by_difference_ms) - 1


def middle_layer_ms(parts_ns: dict[str, float], layers: int) -> float:
    """The mean of what a layer's two sublayers took, the first and the last layer aside."""
    middle = range(1, layers - 1)
    took_ns = sum(parts_ns[f"layers.{layer}.{sublayer}"] for layer in middle for sublayer in ("attn", "ffn"))
    return took_ns / len(middle) / 1e6


def measure(deep: Variant, shallow: Variant, layers: tuple[int, int], passes: int, depth: int) -> tuple[float, float]:
    """Milliseconds of one layer, by difference and by parts; both models are reopened, their runs interleaved.

    Args:
        layers: Of the deep model, of the shallow one.
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
    """Opening is no news."""


def _passes_ns(model: Model, ids: list[int], passes: int) -> list[int]:
    return model.with_engine(lambda engine: _engine_passes_ns(engine, ids, passes))


def _engine_passes_ns(engine: Engine, ids: list[int], passes: int) -> list[int]:
    """Decode passes over the last id, each forgotten again."""
    engine.rewind(0)
    engine.reserve(len(ids))
    for chunk in chunks(tuple(ids[:-1]), engine.spec):
        engine.feed(chunk, Watch.nothing())
    last, took_ns = np.array(ids[-1:], np.int64), []
    for _ in range(passes):
        started_ns = perf_counter_ns()
        engine.feed(last, Watch.nothing())
        took_ns.append(perf_counter_ns() - started_ns)
        engine.rewind(engine.fed - 1)
    return took_ns


def _parts_ms(model: Model, ids: list[int], repeats: int) -> float:
    timing = model.time_sublayers(ids, repeats=repeats)
    assert timing is not None
    return middle_layer_ms(timing.scaled_ns, model.spec.n_layers)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.layers", description=__doc__)
    parser.add_argument("--engine", action="append", help="engine and precision; may come twice (default onnx, torch)")
    parser.add_argument("--layers", type=int, default=LLAMA_135M.n_layers, help="of the deep model (default 30)")
    parser.add_argument("--against", type=int, default=3, help="layers of the shallow model (default 3)")
    parser.add_argument("--rounds", type=int, default=7, help="openings of both, whose median counts (default 7)")
    parser.add_argument("--passes", type=int, default=50, help="decode passes of each model a round (default 50)")
    parser.add_argument("--depth", type=int, default=64, help="tokens in the cache before the pass (default 64)")
    parser.add_argument("--threads", type=int, default=1, help="threads (default 1, where parts cover the whole)")
    options = parser.parse_args()
    if not 1 <= options.against < options.layers or options.layers < 3:
        parser.error("--layers 3 or more, since the first and the last do not count, and --against fewer")
    return options


def main() -> int:
    options = _options()
    layers, reached = (options.layers, options.against), True
    print(
        f"{LLAMA_135M.name}, {layers[0]} layers against {layers[1]}, threads {options.threads}, depth {options.depth}"
    )
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
    ways = []
    for name, found in (("by difference", layer.by_difference_ms), ("by parts", layer.by_parts_ms)):
        ways.append(f"{name} {median(found):.3f} ms ({min(found):.3f}–{max(found):.3f})")
    verdict = "reached" if abs(layer.difference) < AIM else "MISSED"
    return f"{engine:12} one layer {', '.join(ways)}: {layer.difference:+.1%} apart, aim {AIM:.0%} {verdict}"


if __name__ == "__main__":
    sys.exit(main())
