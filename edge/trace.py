"""A trace: the tokens, watched values and timing of one run. Opens without an engine."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Literal, get_type_hints

import numpy as np
from jaxtyping import Float32, Int64

from edge.ablated import Ablated, ablated
from edge.attention_pattern import attention_pattern
from edge.dataclass_json import read_value
from edge.mixture_neurons import ablated_neurons, all_neurons
from edge.store import damaged, read_store, write_store
from edge.timing import RunTiming
from edge.watch import Watch
from models.errors import EdgeError, MisuseError
from models.sites import KEY, NEURONS, QUERY, ROUTER, SINK, find_site, layer_site, sites_of
from models.spec import DecoderSpec, MoE
from models.spec_json import spec_from_json, spec_to_json

Finish = Literal["length", "stop", "stop_text", "stopped", "context"]
"""Why a run ended: token limit, stop token, stop text, stopped by the user, or context full."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One run.

    Sites have one row for each fed token; the last generated token is not fed.

    Attributes:
        model: Name of the checkpoint.
        engine: Engine and precision, as users write them.
        versions: Version of Edge and of each package that computed.
        tokens: Prompt and generated ids.
        prompt_length: Number of prompt tokens.
        pieces: Each token as a label.
        text: Generated text.
        logprobs: Natural log-probability of each generated token.
        n_fed: Number of fed tokens: the rows of every site.
        sites: Watched values by site name, float32 or float16.
        edits: Names of the edits of this run, such as `head 3.5 ablated`.
    """

    spec: DecoderSpec
    model: str
    engine: str
    versions: dict[str, str]
    tokens: tuple[int, ...]
    prompt_length: int
    n_fed: int
    pieces: tuple[str, ...]
    text: str
    logprobs: tuple[float, ...]
    finish: Finish
    watch: Watch
    timing: RunTiming
    sites: dict[str, np.ndarray] = field(repr=False)
    edits: tuple[str, ...] = ()

    @property
    def generated(self) -> tuple[int, ...]:
        """Ids of the generated tokens."""
        return self.tokens[self.prompt_length :]

    @cached_property
    def ablated(self) -> Ablated:
        """The components that the edits of this run ablate."""
        return ablated(self.edits)

    def site(self, name: str) -> Float32[np.ndarray, "token ..."]:
        """The values of one site, such as `layers.3.attn.output`."""
        return self._recorded(name).astype(np.float32, copy=False)

    def row(self, name: str, token: int) -> Float32[np.ndarray, "1 ..."]:
        """One token's row of a site; of float16 values only that row is converted."""
        if not 0 <= token < self.n_fed:
            raise MisuseError(f"token {token} was not fed in this run; it fed tokens 0 to {self.n_fed - 1}")
        return self._recorded(name)[token : token + 1].astype(np.float32, copy=False)

    def _recorded(self, name: str) -> np.ndarray:
        """The recorded values of a site, float32 or float16."""
        if name not in self.sites:
            find_site(self.spec, name)  # raises a different error for an unknown name
            raise MisuseError(f"'{name}' was not recorded in this run; run again with it in the watch")
        return self.sites[name]

    def pattern(self, layer: int, head: int) -> Float32[np.ndarray, "token past"]:
        """Attention pattern of one head, recomputed from query and key; rows sum to 1."""
        query, key = self.site(layer_site(layer, QUERY)), self.site(layer_site(layer, KEY))
        if not 0 <= head < self.spec.n_heads:
            raise MisuseError(f"no head {head}; a layer of this decoder has heads 0 to {self.spec.n_heads - 1}")
        kind = self.spec.layers[layer].attention
        keys = key[:, head // kind.sharing]
        return attention_pattern(query[:, head], keys, kind.scale, kind.window, kind.score_cap, self.sink(layer, head))

    def neurons(self, layer: int) -> Float32[np.ndarray, "token neuron"]:
        """Neuron activations of the FFN: the input of the down projection.

        For a mixture of experts they are `edge.mixture_neurons.all_neurons`.
        """
        return self._neurons(layer, self.site)

    def neurons_at(self, layer: int, token: int) -> Float32[np.ndarray, "one neuron"]:
        """The same at one token."""
        return self._neurons(layer, lambda site: self.row(site, token))

    def given(self, layer: int, token: int) -> Float32[np.ndarray, " expert"]:
        """The weight that the router gives each expert at one token; empty for a dense FFN."""
        if not isinstance(self.spec.layers[layer].ffn, MoE):
            return np.zeros(0, np.float32)
        (row,) = self.row(layer_site(layer, ROUTER), token)
        return np.asarray(row)

    def _neurons(
        self, layer: int, read: Callable[[str], Float32[np.ndarray, "token ..."]]
    ) -> Float32[np.ndarray, "token neuron"]:
        kind = self.spec.layers[layer].ffn
        if isinstance(kind, MoE):
            return all_neurons(kind, lambda part: read(layer_site(layer, part)))
        return read(layer_site(layer, NEURONS))

    def sink(self, layer: int, head: int) -> float | None:
        """The logit of a head's sink; None for attention without sinks."""
        if not self.spec.layers[layer].attention.sinks:
            return None
        return float(self._recorded(layer_site(layer, SINK))[0, head])

    def ablated_neurons(self, layer: int) -> tuple[int, ...]:
        """Neurons of a layer that this run ablates individually or with their expert, in ascending order."""
        return ablated_neurons(self.spec.layers[layer].ffn, self.ablated, layer)

    def acting(self, layer: int) -> Int64[np.ndarray, " neuron"]:
        """Indices of the neurons that no edit of this run ablates; empty if the FFN is ablated."""
        if layer in self.ablated.ffns:
            return np.zeros(0, np.int64)
        return np.delete(np.arange(self.spec.d_ffs[layer]), self.ablated_neurons(layer))

    def acting_neurons(self, layer: int) -> Float32[np.ndarray, "token neuron"]:
        """Activations of the neurons in `acting`; sparsity is measured on these."""
        neurons = self.neurons(layer)
        return neurons[:, self.acting(layer)] if layer in self.ablated.ffn_layers else neurons

    def save(self, path: str | Path) -> Path:
        """Writes the trace to one safetensors file; a failed write leaves no file."""
        record = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "sites"}
        record |= {"spec": spec_to_json(self.spec), "watch": asdict(self.watch), "timing": asdict(self.timing)}
        return write_store(Path(path), record, self.sites)


def open_trace(path: str | Path) -> Trace:
    """Reads a trace that `Trace.save` wrote; sites stay on disk until they are used.

    Raises:
        EdgeError: there is no trace, or it is damaged; the message says what is wrong.
    """
    path = Path(path)
    record, places = read_store(path)
    hints = {name: kind for name, kind in get_type_hints(Trace).items() if name not in ("spec", "sites")}
    try:
        values = {name: read_value(kind, record[name], name) for name, kind in hints.items()}
        spec = spec_from_json(record["spec"])
        trace = Trace(**values, spec=spec, sites={name: place.read() for name, place in places.items()})
        _check_lengths(trace)
    except KeyError as error:
        raise damaged(path, f"it lacks {error}") from error
    except (ValueError, TypeError, AttributeError, EdgeError) as error:
        raise damaged(path, error) from error
    return trace


def _check_lengths(trace: Trace) -> None:
    """Raises ValueError if lengths do not agree, or a site has another shape than the spec gives."""
    tokens = len(trace.tokens)
    if not (0 <= trace.prompt_length <= tokens and 0 <= trace.n_fed <= tokens):
        raise ValueError(f"of {tokens} tokens, {trace.prompt_length} are of the prompt and {trace.n_fed} were fed")
    if len(trace.pieces) != tokens or len(trace.logprobs) != len(trace.generated):
        raise ValueError(f"{len(trace.pieces)} pieces and {len(trace.logprobs)} probabilities for {tokens} tokens")
    known = sites_of(trace.spec) if trace.sites else {}
    for name, value in trace.sites.items():
        expected = (trace.n_fed, *known[name].row_shape) if name in known else None
        if value.shape != expected or value.dtype not in (np.float32, np.float16):
            raise ValueError(f"'{name}' is {value.dtype} {value.shape}, the spec gives {expected}")
