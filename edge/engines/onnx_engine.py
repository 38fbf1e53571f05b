"""The ONNX Runtime engine: graphs without weights, which use the checkpoint's weights.

Two sessions share one set of key and value buffers, bound in place. `fast` runs. `probe` is created for watched sites;
`edit`, with the same outputs, replaces it when a site is changed. Outputs are written directly into numpy arrays,
except small ones.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
import psutil
from jaxtyping import Int64
from numpy.typing import NDArray

from edge.change import NO_CHANGES, Changes
from edge.engines.base import NO_ROWS, Rows, Step, watched_places
from edge.engines.choice import PROVIDERS, EngineChoice
from edge.timing import Grain, TimesByScope, Without, by_sublayer
from edge.watch import Watch
from export.bundle import Bundle, prepare
from export.layout import layout_of
from export.names import change_name, is_inside, part_of_node
from export.oldest_runtime import release
from export.remove_nodes import remove_nodes
from models.checkpoint import Checkpoint
from models.errors import EdgeError, MissingPackageError, MisuseError
from models.parts import sublayer_of
from models.progress import Progress
from models.sites import ATTENTION, FFN, LOGITS, sites_of
from models.sublayers.states import Mark

try:
    from export.onnx_runtime import ort
except ImportError as error:
    raise MissingPackageError("engine 'onnx'", "onnxruntime", "all") from error

from edge.engines.onnx_session import Cache, Graph, SessionWeights, Values

_REMOVED: dict[str, Callable[[str], bool]] = {
    ATTENTION: lambda node: sublayer_of(part_of_node(node)).endswith(f".{ATTENTION}"),
    FFN: lambda node: sublayer_of(part_of_node(node)).endswith(f".{FFN}"),
    "layers": lambda node: part_of_node(node).startswith("layers."),
}
"""Which nodes to leave out of a pass, by node name."""

_PASSES_PER_TURN = 4
"""Passes of one graph before the other graph's turn."""

_WARM_UP_PASSES = 3
"""First passes of a new session, which are slower than later ones because memory is allocated."""


class OnnxEngine:
    """Runs a decoder in ONNX Runtime: float32, float16 if the provider supports it, or quantized matrices."""

    timing_method = "node times of a second session with profiling"

    def __init__(self, checkpoint: Checkpoint, choice: EngineChoice, threads: int | None, progress: Progress) -> None:
        self.spec, self.name = checkpoint.spec, str(choice)
        self.threads = threads or psutil.cpu_count(logical=False) or 1
        self.versions = {"onnxruntime": ort.__version__}
        self._provider, layout = available(choice.provider), layout_of(checkpoint, choice.precision)
        self._bundle: Bundle = prepare(checkpoint, progress, layout)
        progress("opening the ONNX session")
        self._weights = SessionWeights(checkpoint, layout, progress)
        self.weights_bytes, self.float_bytes = checkpoint.stored_bytes, np.dtype(layout.float_type).itemsize
        self._fast = self._open("fast")
        device = "cuda" if choice.provider == "cuda" else "cpu"
        self._cache = Cache(self.spec, layout.float_type, device)
        self._site_graph: tuple[str, Graph] | None = None
        self._rows = {site.name: site.row_shape for site in sites_of(self.spec).values()}
        self._watched = watched_places(self.spec)

    @property
    def allocator_peak_bytes(self) -> None:
        """None: ONNX Runtime does not report its arenas to Python."""

    def reserve(self, capacity: int) -> None:
        if capacity > self._cache.capacity:
            self._cache.grow(capacity)

    def ready(self, watch: Watch, changing: bool) -> None:
        self._graph(watch.logits or bool(self._watched(watch)), changing)

    @property
    def fed(self) -> int:
        return self._cache.fed

    def clear(self) -> None:
        self._cache.clear()

    def mark(self) -> Mark[Any]:
        return self._cache.mark()

    def restore(self, mark: Mark[Any]) -> None:
        self._cache.restore(mark)

    def feed(
        self, ids: Int64[np.ndarray, " token"], watch: Watch, into: Rows = NO_ROWS, changes: Changes = NO_CHANGES
    ) -> Step:
        sites = self._watched(watch)
        graph = self._graph(watch.logits or bool(sites), bool(changes))
        logits = self._place(LOGITS, len(ids) if watch.logits else 1, into)
        if graph is self._fast:
            self._pass(graph, ids, {LOGITS: logits}, {})
            return Step(logits)
        values = {place: self._place(place, len(ids), into) for place in dict.fromkeys(sites.values())}
        rows = np.arange(len(ids) - len(logits), len(ids))
        more = {"rows": rows} | _inputs_of(changes)
        self._pass(graph, ids, {LOGITS: logits} | values, more)
        return Step(logits, {site: values[place] for site, place in sites.items()})

    def feed_instrumented(self, ids: Int64[np.ndarray, " token"], repeats: int, grain: Grain) -> list[TimesByScope]:
        before = self.mark()
        logits = np.empty((1, self.spec.vocab_size), np.float32)
        with tempfile.TemporaryDirectory(prefix="edge-profile-") as folder:
            profiled = self._open("fast", Path(folder) / "run")
            for _ in range(_WARM_UP_PASSES + repeats):
                self._pass(profiled, ids, {LOGITS: logits}, {})
                self.restore(before)
            events = json.loads(Path(profiled.session.end_profiling()).read_text(encoding="utf8"))
        passes = passes_by_part(events)[_WARM_UP_PASSES:]
        return passes if grain is Grain.PART else [by_sublayer(took_ns) for took_ns in passes]

    def feed_without(self, ids: Int64[np.ndarray, " token"], rounds: int) -> dict[str, tuple[Without, ...]]:
        fast, pairs_by_kind = self._bundle.graph("fast").read_bytes(), {}
        with tempfile.TemporaryDirectory(prefix="edge-reduced-") as folder:
            for kind, is_removed in _REMOVED.items():
                reduced, file = remove_nodes(fast, is_removed), Path(folder) / f"{kind}.onnx"
                file.write_bytes(reduced.model)
                weights = self._weights.only(reduced.initializers)
                graph = Graph(file, weights, self.threads, self._provider)
                pairs = [
                    Without(self._fastest_ns(self._fast, ids), self._fastest_ns(graph, ids)) for _ in range(rounds)
                ]
                pairs_by_kind[kind] = tuple(pairs)
        return pairs_by_kind

    def _fastest_ns(self, graph: Graph, ids: Int64[np.ndarray, " token"]) -> float:
        """The fastest of a few passes, since disturbances only slow a pass down. The first pass warms the caches."""
        before, took_ns = self.mark(), []
        logits = np.empty((1, self.spec.vocab_size), np.float32)
        for _ in range(1 + _PASSES_PER_TURN):
            started_ns = perf_counter_ns()
            self._pass(graph, ids, {LOGITS: logits}, {})
            took_ns.append(perf_counter_ns() - started_ns)
            self.restore(before)
        return float(min(took_ns[1:]))

    def close(self) -> None:
        del self._fast, self._site_graph, self._cache, self._weights

    def _graph(self, watching: bool, changing: bool) -> Graph:
        """The session for such passes. `edit` also outputs sites, so it is kept once it exists."""
        if not (watching or changing):
            return self._fast
        if self._site_graph is None or (changing and self._site_graph[0] == "probe"):
            name = "edit" if changing else "probe"
            self._site_graph = None  # freed before the next session copies all weights
            self._site_graph = name, self._open(name)
        return self._site_graph[1]

    def _place(self, site: str, rows: int, into: Rows) -> Values:
        """The output array of one site."""
        return into[site] if site in into else np.empty((rows, *self._rows[site]), np.float32)

    def _open(self, graph: str, profile: Path | None = None) -> Graph:
        try:
            return Graph(self._bundle.graph(graph), self._weights, self.threads, self._provider, profile)
        except EdgeError:
            raise
        except Exception as error:
            needed = self._bundle.manifest.oldest_onnxruntime
            fix = f"delete {self._bundle.folder}, and Edge exports it again"
            if release(ort.__version__) < release(needed):
                fix = f"its graphs need ONNX Runtime {needed} or newer: pip install --upgrade onnxruntime"
            raise EdgeError(
                f"ONNX Runtime {ort.__version__} cannot open the graph {self._bundle.graph(graph)}: {error}; {fix}"
            ) from error

    def _pass(
        self,
        graph: Graph,
        ids: Int64[np.ndarray, " token"],
        outputs: dict[str, Values],
        more: Mapping[str, NDArray[np.generic]],
    ) -> None:
        inputs = {"ids": ids, "total": np.array([self.fed + len(ids)], np.int32), **more}
        graph.run(self._cache, inputs, outputs)
        self._cache.finish(len(ids))


def _inputs_of(changes: Changes) -> dict[str, NDArray[np.generic]]:
    """Changes as inputs of the graph `edit`."""
    return {
        change_name(site, part): values
        for site, change in changes.items()
        for part, values in (("scale", change.scale), ("shift", change.shift))
    }


def available(provider: str) -> str:
    """Returns `provider` if the installed ONNX Runtime has it; otherwise raises MisuseError."""
    installed = ort.get_available_providers()
    if PROVIDERS[provider] in installed:
        return provider
    has = ", ".join(name for name, called in PROVIDERS.items() if called in installed)
    raise MisuseError(
        f"the installed onnxruntime supports {has}, not {provider}; install the package for your device: "
        "onnxruntime-gpu (cuda), onnxruntime-directml, or onnxruntime on a Mac (coreml)"
    )


def passes_by_part(events: Iterable[dict[str, object]]) -> list[TimesByScope]:
    """Nanoseconds by part for each pass of an ONNX Runtime profile, in order."""
    passes: list[TimesByScope] = []
    took_ns: TimesByScope = {}
    for event in events:
        name = str(event["name"])
        if event["cat"] == "Node" and name.endswith("_kernel_time") and not is_inside(name):
            part = part_of_node(name)
            took_ns[part] = took_ns.get(part, 0.0) + 1e3 * float(str(event["dur"]))
        elif name == "model_run":
            passes.append(took_ns)
            took_ns = {}
    return passes
