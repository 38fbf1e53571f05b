"""One session of ONNX Runtime: its graph, its weights, and the cache and arrays that it is bound to."""

from collections.abc import Collection
from pathlib import Path
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from edge.engines.attention_kernel import without_flash_attention
from edge.engines.choice import PROVIDERS
from export.initializers import give, initializer_values
from export.layout import Layout
from export.onnx_runtime import ort
from models.checkpoint import Checkpoint
from models.errors import MisuseError
from models.spec import DecoderSpec

Values = NDArray[np.float32]
Bound = tuple[int, tuple[str, ...], tuple[tuple[str, tuple[int, ...]], ...]]
"""What a binding was made for: capacity of the cache; names of inputs; names and shapes of outputs."""

_SPIN_US = "60"
"""Microseconds a worker waits busily for its next share, and then it lets go: over what lies between two operators, and
in a small model between two tokens, which with 20 took 1.6 times as long beside two engines that rest. From 100 on, a
program at work beside it costs a quarter of the speed."""

_COPIED_BYTES = 1 << 15
"""Outputs up to this size land in arrays that stay bound and are copied from there: to bind another array takes six
times as long as to copy the few numbers of one token."""


class Cache:
    """Keys and values of every layer, in buffers that both sessions read and write in place.

    On the CPU they are parts of one block, for which numpy asks Linux for large pages: where a token reads as many keys
    and values as quantized weights, behind 1,700 others, it takes a twentieth less.

    Attributes:
        capacity: Tokens there is room for.
    """

    def __init__(self, spec: DecoderSpec, kind: str, device: str) -> None:
        self.names = [f"{layer}.{part}" for layer in range(spec.n_layers) for part in ("key", "value")]
        self._row, self._kind, self._device = (spec.n_kv_heads, spec.head_dim), np.dtype(kind), device
        self.capacity = 0
        self.buffers = [self._on_device(part) for part in self._block(0)]

    def grow(self, capacity: int, held: int) -> None:
        """Makes room for `capacity` tokens; the first `held` stay."""
        block = self._block(capacity)
        for part, old in zip(block, self.buffers, strict=True):
            part[:, :, :held] = old.numpy()[:, :, :held]
        self.buffers = [self._on_device(part) for part in block]
        self.capacity = capacity

    def bind(self, binding: ort.IOBinding, outputs: set[str]) -> None:
        """Past and present are one buffer: the attention operator appends to it, where a graph has it."""
        for name, value in zip(self.names, self.buffers, strict=True):
            binding.bind_ortvalue_input(f"past_key_values.{name}", value)
            if (present := f"present.{name}") in outputs:
                binding.bind_ortvalue_output(present, value)

    def _on_device(self, array: NDArray[np.generic]) -> ort.OrtValue:
        """In the memory of the device; the CPU's is the array itself."""
        return ort.OrtValue.ortvalue_from_numpy(array, self._device, 0)

    def _block(self, capacity: int) -> NDArray[np.generic]:
        return np.zeros((len(self.names), 1, self._row[0], capacity, self._row[1]), self._kind)


class Graph:
    """One session and its binding to the cache.

    Attributes:
        session: Given the weights when it was made, and nothing after.
    """

    def __init__(
        self, file: Path, weights: "SessionWeights", threads: int, provider: str, profile: Path | None = None
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
        with without_flash_attention():
            self.session = ort.InferenceSession(str(file), options, providers=wanted)
        if self.session.get_providers()[0] != wanted[0]:
            raise MisuseError(
                f"provider '{provider}' does not start here: its libraries or its device are missing; "
                "what ONNX Runtime says about it stands above, and '-e onnx' runs on the CPU"
            )
        self._outputs = {output.name for output in self.session.get_outputs()}
        self._weights = weights  # the session reads their memory
        self._binding: ort.IOBinding | None = None
        self._bound: Bound = (0, (), ())
        self._inputs: dict[str, NDArray[np.generic]] = {}
        self._written: dict[str, ref[Values]] = {}
        self._landings: dict[str, Values] = {}

    def run(self, cache: Cache, inputs: dict[str, NDArray[np.generic]], outputs: dict[str, Values]) -> None:
        """One pass; fills the arrays in `outputs` and the cache."""
        wanted = (cache.capacity, tuple(inputs), tuple((name, array.shape) for name, array in outputs.items()))
        if self._binding is None or wanted != self._bound:
            self._binding, self._bound = self.session.io_binding(), wanted
            self._inputs, self._written = {}, {}
            cache.bind(self._binding, self._outputs)
            small = {name: array for name, array in outputs.items() if array.nbytes <= _COPIED_BYTES}
            self._landings = {name: np.empty_like(array) for name, array in small.items()}
        self._bind_inputs(self._binding, inputs)
        self._bind_outputs(self._binding, outputs | self._landings)
        self.session.run_with_iobinding(self._binding)
        for name, landed in self._landings.items():
            outputs[name][...] = landed

    def _bind_inputs(self, binding: ort.IOBinding, inputs: dict[str, NDArray[np.generic]]) -> None:
        """Copies inputs to where those of the pass before lie, and binds those of another shape."""
        for name, array in inputs.items():
            held = self._inputs.get(name)
            if held is not None and held.shape == array.shape:
                held[...] = array
            else:
                self._inputs[name] = array.copy()
                binding.bind_input(name, "cpu", 0, array.dtype, array.shape, self._inputs[name].ctypes.data)

    def _bind_outputs(self, binding: ort.IOBinding, outputs: dict[str, Values]) -> None:
        """Binds what goes to other arrays than in the pass before; arrays live no longer for it."""
        for name, array in outputs.items():
            if name not in self._written or self._written[name]() is not array:
                binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
                self._written[name] = ref(array)


class SessionWeights:
    """The initializers of every session, in the memory of the checkpoint where it stores them as they are needed."""

    def __init__(self, checkpoint: Checkpoint, layout: Layout) -> None:
        arrays = initializer_values(checkpoint, layout)
        self._values = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in arrays}

    def only(self, names: Collection[str]) -> "SessionWeights":
        """Those of some names, in the same memory."""
        some = object.__new__(SessionWeights)
        some._values = {name: value for name, value in self._values.items() if name in names}
        return some

    def give(self, options: ort.SessionOptions, provider: str) -> None:
        """Hands all of them to a session about to be made."""
        give(options, self._values, in_place=provider == "cpu")
