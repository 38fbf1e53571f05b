"""One ONNX Runtime session: its graph, its weights, and its IO binding to the cache and to output arrays."""

from collections.abc import Collection
from pathlib import Path
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from edge.engines.attention_kernel import without_flash_attention
from edge.engines.choice import PROVIDERS
from export.converted import session_values
from export.initializers import add_initializers
from export.layout import Layout
from export.onnx_runtime import ort
from models.checkpoint import Checkpoint
from models.errors import MisuseError
from models.progress import Progress
from models.spec import DecoderSpec
from models.states import state_shape, states_of
from models.sublayers.states import Growing, Mark, fixed_shape

Values = NDArray[np.float32]
Bound = tuple[int, tuple[str, ...], tuple[tuple[str, tuple[int, ...]], ...]]
"""What a binding is valid for: capacity of the cache; names of inputs; names and shapes of outputs."""

_SPIN_US = "60"
"""Microseconds that a worker thread spins before it sleeps. This covers the time between two operators, and between two
tokens of a small model: with 20 µs, a token took 1.6 times as long when two idle engines were open. From 100 µs on, a
busy program on the same machine costs a quarter of the speed."""

_COPIED_BYTES = 1 << 15
"""Outputs up to this size go to arrays that stay bound and are copied from there. Binding another array takes six times
as long as copying the values of one token."""


class Cache:
    """The states of every layer. Both sessions read and write those that grow in place.

    On the CPU these are parts of one block, for which numpy requests huge pages from Linux. This saves 5% of a token's
    time at depth 1,700, where the bytes of keys and values that a token reads equal those of quantized weights.

    Attributes:
        fed: Number of tokens.
        capacity: Maximum number of tokens.
    """

    def __init__(self, spec: DecoderSpec, kind: str, device: str) -> None:
        self._states, self._kind, self._device = states_of(spec), np.dtype(kind), device
        self.fed, self.capacity, self._text = 0, 0, 0
        self._growing = self._buffers(0)
        # Two values each: a pass reads one and writes the other, since an operator may read it after another wrote it.
        self._fixed = {
            name: [self._on_device(np.zeros(fixed_shape(state), self._kind)) for _ in range(2)]
            for name, state in self._states.items()
            if not isinstance(state, Growing)
        }

    def grow(self, capacity: int) -> None:
        """Grows to `capacity` tokens and keeps the tokens so far."""
        grown = self._buffers(capacity)
        for name, old in self._growing.items():
            grown[name].numpy()[:, :, : self.fed] = old.numpy()[:, :, : self.fed]
        self._growing, self.capacity = grown, capacity

    def bind(self, binding: ort.IOBinding, outputs: set[str]) -> None:
        """Binds states before and after a pass. A graph may lack outputs."""
        for name, value in self._growing.items():
            _bind(binding, outputs, name, value, value)
        for name, (before, after) in self._fixed.items():
            _bind(binding, outputs, name, before, after)

    def finish(self, tokens: int) -> None:
        """Ends a pass over `tokens` tokens."""
        self.fed += tokens
        for before, after in self._fixed.values():
            before.update_inplace(after.numpy())

    def clear(self) -> None:
        """Begins a new text."""
        self.fed, self._text = 0, self._text + 1
        for before, _ in self._fixed.values():
            before.update_inplace(np.zeros_like(before.numpy()))

    def mark(self) -> Mark[NDArray[np.generic]]:
        """The place after the last token."""
        kept = {_layer_and_name(name): before.numpy().copy() for name, (before, _) in self._fixed.items()}
        return Mark(self._text, self.fed, kept)

    def restore(self, mark: Mark[NDArray[np.generic]]) -> None:
        """Goes back to a place of the same text."""
        assert mark.text == self._text, "the mark is of another text"
        self.fed = mark.fed
        for name, (before, _) in self._fixed.items():
            before.update_inplace(mark.kept[_layer_and_name(name)])

    def _on_device(self, array: NDArray[np.generic]) -> ort.OrtValue:
        """The array in the memory of the device; on the CPU without a copy."""
        return ort.OrtValue.ortvalue_from_numpy(array, self._device, 0)

    def _buffers(self, capacity: int) -> dict[str, ort.OrtValue]:
        """Zeros for every state that grows, by name."""
        growing = {name: state for name, state in self._states.items() if isinstance(state, Growing)}
        sizes = [state.heads * capacity * state.features for state in growing.values()]
        block, ends = np.zeros(sum(sizes), self._kind), np.cumsum([0, *sizes])
        return {
            name: self._on_device(block[ends[place] : ends[place + 1]].reshape(state_shape(state, capacity)))
            for place, (name, state) in enumerate(growing.items())
        }


def _bind(binding: ort.IOBinding, outputs: set[str], name: str, before: ort.OrtValue, after: ort.OrtValue) -> None:
    binding.bind_ortvalue_input(f"past_key_values.{name}", before)
    if (present := f"present.{name}") in outputs:
        binding.bind_ortvalue_output(present, after)


def _layer_and_name(name: str) -> tuple[int, str]:
    layer, _, state = name.partition(".")
    return int(layer), state


class Graph:
    """One session and its binding to the cache.

    Attributes:
        session: Created with all weights.
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
        weights.add_to(options, provider)
        providers = list(dict.fromkeys([PROVIDERS[provider], PROVIDERS["cpu"]]))
        with without_flash_attention():
            self.session = ort.InferenceSession(str(file), options, providers=providers)
        if self.session.get_providers()[0] != providers[0]:
            raise MisuseError(
                f"provider '{provider}' does not start: its libraries or its device are missing; "
                "see the message of ONNX Runtime above, or use '-e onnx' for the CPU"
            )
        self._outputs = {output.name for output in self.session.get_outputs()}
        self._weights = weights  # the session reads their memory
        self._binding: ort.IOBinding | None = None
        self._bound: Bound = (0, (), ())
        self._inputs: dict[str, NDArray[np.generic]] = {}
        self._written: dict[str, ref[Values]] = {}
        self._small_outputs: dict[str, Values] = {}

    def run(self, cache: Cache, inputs: dict[str, NDArray[np.generic]], outputs: dict[str, Values]) -> None:
        """Runs one pass; fills the arrays in `outputs` and the cache."""
        needed = (cache.capacity, tuple(inputs), tuple((name, array.shape) for name, array in outputs.items()))
        if self._binding is None or needed != self._bound:
            self._binding, self._bound = self.session.io_binding(), needed
            self._inputs, self._written = {}, {}
            cache.bind(self._binding, self._outputs)
            small = {name: array for name, array in outputs.items() if array.nbytes <= _COPIED_BYTES}
            self._small_outputs = {name: np.empty_like(array) for name, array in small.items()}
        self._bind_inputs(self._binding, inputs)
        self._bind_outputs(self._binding, outputs | self._small_outputs)
        self.session.run_with_iobinding(self._binding)
        for name, array in self._small_outputs.items():
            outputs[name][...] = array

    def _bind_inputs(self, binding: ort.IOBinding, inputs: dict[str, NDArray[np.generic]]) -> None:
        """Copies inputs to the arrays bound in the previous pass; binds a new array if the shape differs."""
        for name, array in inputs.items():
            bound = self._inputs.get(name)
            if bound is not None and bound.shape == array.shape:
                bound[...] = array
            else:
                self._inputs[name] = array.copy()
                binding.bind_input(name, "cpu", 0, array.dtype, array.shape, self._inputs[name].ctypes.data)

    def _bind_outputs(self, binding: ort.IOBinding, outputs: dict[str, Values]) -> None:
        """Binds outputs whose array differs from the previous pass. Keeps only weak references to the arrays."""
        for name, array in outputs.items():
            if name not in self._written or self._written[name]() is not array:
                binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
                self._written[name] = ref(array)


class SessionWeights:
    """The initializers of all sessions. They share memory with the checkpoint's file where its format allows.

    Quantized weights in other formats are memory-mapped from the cache, as `export.converted` says.
    """

    def __init__(self, checkpoint: Checkpoint, layout: Layout, progress: Progress) -> None:
        arrays = session_values(checkpoint, layout, progress)
        self._values = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in arrays}

    def only(self, names: Collection[str]) -> "SessionWeights":
        """The initializers with these names, in the same memory."""
        subset = object.__new__(SessionWeights)
        subset._values = {name: value for name, value in self._values.items() if name in names}
        return subset

    def add_to(self, options: ort.SessionOptions, provider: str) -> None:
        """Adds all initializers to the options of a new session."""
        add_initializers(options, self._values, in_place=provider == "cpu")
