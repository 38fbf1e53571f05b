"""ONNX Runtime: weightless graphs, given the checkpoint's own weights.

Two sessions share one set of key and value buffers, bound in place: `fast` runs; `probe` is made when something is
watched, and gives way to `edit`, which shows the same, when something is changed. Their outputs are written straight
into numpy arrays, but for those of a few numbers.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import psutil
from jaxtyping import Int64
from numpy.typing import NDArray

from edge.edits import NO_CHANGES, Changes
from edge.engines.base import NO_ROWS, Rows, Step, watched_places
from edge.engines.choice import PROVIDERS, EngineChoice
from edge.engines.plain_attention import plain_attention
from edge.timing import Grain, Took, by_sublayer
from edge.watch import Watch
from export.bundle import Bundle, prepare
from export.initializers import give, initializer_values
from export.layout import Layout, layout_of
from export.names import change_name, part_of_node
from models.checkpoint import Checkpoint
from models.errors import EdgeError, MissingPackageError, MisuseError
from models.sites import LOGITS, sites_of
from models.spec import DecoderSpec

try:
    import onnxruntime as ort
except ImportError as error:
    raise MissingPackageError("engine 'onnx'", "onnxruntime", "all") from error

Progress = Callable[[str], None]
Values = NDArray[np.float32]
Bound = tuple[int, tuple[str, ...], tuple[tuple[str, tuple[int, ...]], ...]]
"""What a binding was made for: capacity of the cache; names of inputs; names and shapes of outputs."""

_SPIN_US = "20"
"""Microseconds a worker waits busily for its next share: enough between two operators, and then it lets go.
Waiting on, as ONNX Runtime would, gains nothing here and halves the speed where other programs run."""

_COPIED_BYTES = 1 << 15
"""Outputs up to this size land in arrays that stay bound and are copied from there: to bind another array takes six
times as long as to copy the few numbers of one token."""

_WARM_UP_PASSES = 3
"""Passes of a fresh session that are slower than later ones: memory is touched for the first time."""


class Cache:
    """Keys and values of every layer, in buffers that both sessions read and write in place.

    Attributes:
        capacity: Tokens there is room for.
    """

    def __init__(self, spec: DecoderSpec, kind: str, device: str) -> None:
        self.names = [f"{layer}.{part}" for layer in range(spec.n_layers) for part in ("key", "value")]
        self._row, self._kind, self._device = (spec.n_kv_heads, spec.head_dim), np.dtype(kind), device
        self.capacity = 0
        self.buffers = [self._on_device(self._empty(0)) for _ in self.names]

    def grow(self, capacity: int, held: int) -> None:
        """Makes room for `capacity` tokens; the first `held` stay."""
        for index, old in enumerate(self.buffers):
            new = self._empty(capacity)
            new[:, :, :held] = old.numpy()[:, :, :held]
            self.buffers[index] = self._on_device(new)
        self.capacity = capacity

    def bind(self, binding: ort.IOBinding) -> None:
        """Past and present are one buffer: the attention operator appends to it."""
        for name, value in zip(self.names, self.buffers, strict=True):
            binding.bind_ortvalue_input(f"past_key_values.{name}", value)
            binding.bind_ortvalue_output(f"present.{name}", value)

    def _on_device(self, array: NDArray[np.generic]) -> ort.OrtValue:
        """In the memory of the device; the CPU's is the array itself."""
        return ort.OrtValue.ortvalue_from_numpy(array, self._device, 0)

    def _empty(self, capacity: int) -> NDArray[np.generic]:
        return np.zeros((1, self._row[0], capacity, self._row[1]), self._kind)


class Graph:
    """One session and its binding to the cache.

    Attributes:
        session: Given the weights when it was made, and nothing after.
    """

    def __init__(
        self, file: Path, weights: "Weights", threads: int, provider: str, profile: Path | None = None
    ) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.spin_duration_us", _SPIN_US)
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile)
        weights.give(options, provider)
        wanted = list(dict.fromkeys([PROVIDERS[provider], PROVIDERS["cpu"]]))
        with plain_attention():
            self.session = ort.InferenceSession(str(file), options, providers=wanted)
        if self.session.get_providers()[0] != wanted[0]:
            raise MisuseError(
                f"provider '{provider}' does not start here: its libraries or its device are missing; "
                "what ONNX Runtime says about it stands above, and '-e onnx' runs on the CPU"
            )
        self._weights = weights  # the session reads their memory
        self._binding: ort.IOBinding | None = None
        self._bound: Bound = (0, (), ())
        self._landings: dict[str, Values] = {}

    def run(self, cache: Cache, inputs: dict[str, NDArray[np.generic]], outputs: dict[str, Values]) -> None:
        """One pass; fills the arrays in `outputs` and the cache."""
        wanted = (cache.capacity, tuple(inputs), tuple((name, array.shape) for name, array in outputs.items()))
        if self._binding is None or wanted != self._bound:
            self._binding, self._bound = self.session.io_binding(), wanted
            cache.bind(self._binding)
            small = {name: array for name, array in outputs.items() if array.nbytes <= _COPIED_BYTES}
            self._landings = {name: np.empty_like(array) for name, array in small.items()}
            bind_outputs(self._binding, self._landings)
        for name, array in inputs.items():
            self._binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        bind_outputs(self._binding, {name: outputs[name] for name in outputs.keys() - self._landings.keys()})
        self.session.run_with_iobinding(self._binding)
        for name, landed in self._landings.items():
            outputs[name][...] = landed


def bind_outputs(binding: ort.IOBinding, arrays: Mapping[str, Values]) -> None:
    """Has outputs written into arrays, which are held until the pass has run."""
    for name, array in arrays.items():
        binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)


class Weights:
    """The initializers of every session, in the memory of the checkpoint where it stores them as they are needed."""

    def __init__(self, checkpoint: Checkpoint, layout: Layout) -> None:
        arrays = initializer_values(checkpoint, layout)
        self._values = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in arrays}

    def give(self, options: ort.SessionOptions, provider: str) -> None:
        """Hands all of them to a session about to be made."""
        give(options, self._values, in_place=provider == "cpu")


class OnnxEngine:
    """Runs a decoder in ONNX Runtime: float32, float16 where the provider has it, or packed matrices."""

    timing_method = "node times of a second, profiled session"

    def __init__(self, checkpoint: Checkpoint, choice: EngineChoice, threads: int | None, progress: Progress) -> None:
        self.spec, self.name = checkpoint.spec, str(choice)
        self.threads = threads or psutil.cpu_count(logical=False) or 1
        self.versions = {"onnxruntime": ort.__version__}
        self.fed = 0
        self._provider, layout = available(choice.provider), layout_of(checkpoint, choice.precision)
        self._bundle: Bundle = prepare(checkpoint, progress, layout)
        progress("opening the ONNX session")
        self._weights = Weights(checkpoint, layout)
        self.weights_bytes, self.float_bytes = checkpoint.stored_bytes, np.dtype(layout.float_type).itemsize
        self._fast = self._open("fast")
        device = "cuda" if choice.provider == "cuda" else "cpu"
        self._cache = Cache(self.spec, layout.float_type, device)
        self._looking: tuple[str, Graph] | None = None
        self._rows = {site.name: site.row_shape for site in sites_of(self.spec).values()}
        self._watched = watched_places(self.spec)

    @property
    def allocator_peak_bytes(self) -> None:
        """ONNX Runtime tells Python nothing of its arenas."""

    def reserve(self, capacity: int) -> None:
        if capacity > self._cache.capacity:
            self._cache.grow(capacity, self.fed)

    def ready(self, watch: Watch, changing: bool) -> None:
        self._graph(watch, changing)

    def rewind(self, fed: int) -> None:
        self.fed = fed

    def feed(
        self, ids: Int64[np.ndarray, " token"], watch: Watch, into: Rows = NO_ROWS, changes: Changes = NO_CHANGES
    ) -> Step:
        sites, graph = self._watched(watch), self._graph(watch, bool(changes))
        logits = self._place(LOGITS, len(ids) if watch.logits else 1, into)
        if graph is self._fast:
            self._pass(graph, ids, {LOGITS: logits})
            return Step(logits)
        values = {place: self._place(place, len(ids), into) for place in dict.fromkeys(sites.values())}
        rows = np.arange(len(ids) - len(logits), len(ids))
        more = {"rows": rows} | _inputs_of(changes)
        self._pass(graph, ids, {LOGITS: logits} | values, more)
        return Step(logits, {site: values[place] for site, place in sites.items()})

    def feed_instrumented(self, ids: Int64[np.ndarray, " token"], repeats: int, grain: Grain) -> list[Took]:
        fed = self.fed
        logits = np.empty((1, self.spec.vocab_size), np.float32)
        with tempfile.TemporaryDirectory(prefix="edge-profile-") as folder:
            profiled = self._open("fast", Path(folder) / "run")
            for _ in range(_WARM_UP_PASSES + repeats):
                self._pass(profiled, ids, {LOGITS: logits})
                self.rewind(fed)
            events = json.loads(Path(profiled.session.end_profiling()).read_text(encoding="utf8"))
        passes = passes_by_part(events)[_WARM_UP_PASSES:]
        return passes if grain is Grain.PART else [by_sublayer(took_ns) for took_ns in passes]

    def close(self) -> None:
        del self._fast, self._looking, self._cache, self._weights

    def _graph(self, watch: Watch, changing: bool) -> Graph:
        """The session that such passes need; one that can change sites also shows them, and stays once it was made."""
        if not (changing or watch.logits or self._watched(watch)):
            return self._fast
        if self._looking is None or (changing and self._looking[0] == "probe"):
            name = "edit" if changing else "probe"
            self._looking = None  # before the next one lays out all weights
            self._looking = name, self._open(name)
        return self._looking[1]

    def _place(self, site: str, rows: int, into: Rows) -> Values:
        """Where the values of one site are written."""
        return into[site] if site in into else np.empty((rows, *self._rows[site]), np.float32)

    def _open(self, graph: str, profile: Path | None = None) -> Graph:
        try:
            return Graph(self._bundle.graph(graph), self._weights, self.threads, self._provider, profile)
        except EdgeError:
            raise
        except Exception as error:
            raise EdgeError(
                f"ONNX Runtime {ort.__version__} refuses the graph {self._bundle.graph(graph)}: {error}; "
                f"delete {self._bundle.folder} to have it exported anew"
            ) from error

    def _pass(
        self,
        graph: Graph,
        ids: Int64[np.ndarray, " token"],
        outputs: dict[str, Values],
        more: Mapping[str, NDArray[np.generic]] | None = None,
    ) -> None:
        inputs: dict[str, NDArray[np.generic]] = {
            "ids": np.ascontiguousarray(ids, np.int64),
            "total": np.array([self.fed + len(ids)], np.int32),
        }
        graph.run(self._cache, inputs | dict(more or {}), outputs)
        self.fed += len(ids)


def _inputs_of(changes: Changes) -> dict[str, NDArray[np.generic]]:
    """Changes as inputs of `edit`."""
    return {
        change_name(site, part): np.ascontiguousarray(values)
        for site, change in changes.items()
        for part, values in (("scale", change.scale), ("shift", change.shift))
    }


def available(provider: str) -> str:
    """`provider` where the installed ONNX Runtime was built with it; the message says how to get another build."""
    there = ort.get_available_providers()
    if PROVIDERS[provider] in there:
        return provider
    has = ", ".join(name for name, called in PROVIDERS.items() if called in there)
    raise MisuseError(
        f"this onnxruntime runs on {has}, not on {provider}; builds for other devices have names of their own: "
        "onnxruntime-gpu (cuda), onnxruntime-directml, and onnxruntime itself on a Mac (coreml)"
    )


def passes_by_part(events: Iterable[dict[str, object]]) -> list[Took]:
    """Nanoseconds by part for each pass of a profile, in the order in which they ran."""
    passes: list[Took] = []
    took_ns: Took = {}
    for event in events:
        name = str(event["name"])
        if event["cat"] == "Node" and name.endswith("_kernel_time"):
            part = part_of_node(name)
            took_ns[part] = took_ns.get(part, 0.0) + 1e3 * float(str(event["dur"]))
        elif name == "model_run":
            passes.append(took_ns)
            took_ns = {}
    return passes
