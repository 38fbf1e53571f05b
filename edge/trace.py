"""A whole run: its tokens, what was watched, and what it took. Opens again without any engine."""

from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Literal, get_type_hints

import numpy as np
from jaxtyping import Float32, Int64

from edge.ablated import Ablated, ablated
from edge.attention_pattern import attention_pattern
from edge.dataclass_json import read_value
from edge.store import damaged, read_store, write_store
from edge.timing import RunTiming
from edge.watch import Watch
from models.errors import EdgeError, MisuseError
from models.sites import find_site, layer_site, sites_of
from models.spec import DecoderSpec
from models.spec_json import spec_from_json, spec_to_json

Finish = Literal["length", "stop", "stopped", "context"]
"""Why a run ended: enough tokens, a stop token, stopped by its user, or the context was full."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """One run.

    Sites have one row for each token that was fed; the last generated token never was.

    Attributes:
        model: Name of the checkpoint.
        engine: Engine and precision, as users write them.
        versions: Version of Edge and of each package that computed.
        tokens: Prompt and generated ids.
        prompt_length: Leading tokens that were given.
        pieces: Each token as a label.
        text: Generated text.
        logprobs: Natural log-probability of each generated token.
        n_fed: Tokens that were fed: the rows of every site.
        sites: Watched values by site name, float32 or float16.
        edits: What was changed while the decoder computed, by name: `head 3.5 ablated`.
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
        """Ids that the model chose."""
        return self.tokens[self.prompt_length :]

    @cached_property
    def ablated(self) -> Ablated:
        """What the edits of this run set to 0 at every token."""
        return ablated(self.edits)

    def site(self, name: str) -> Float32[np.ndarray, "token ..."]:
        """The values of one site, such as `layers.3.attn.output`."""
        return self._kept(name).astype(np.float32, copy=False)

    def row(self, name: str, token: int) -> Float32[np.ndarray, "1 ..."]:
        """One token's row of a site; only that row is widened where values are kept as float16."""
        if not 0 <= token < self.n_fed:
            raise MisuseError(f"token {token} was not fed in this run; it fed tokens 0 to {self.n_fed - 1}")
        return self._kept(name)[token : token + 1].astype(np.float32, copy=False)

    def _kept(self, name: str) -> np.ndarray:
        """The values of a site as they are kept."""
        if name not in self.sites:
            find_site(self.spec, name)  # an unknown name has an error of its own
            raise MisuseError(f"'{name}' was not watched in this run; run again with it in the watch")
        return self.sites[name]

    def pattern(self, layer: int, head: int) -> Float32[np.ndarray, "token past"]:
        """What each token read from each earlier one, recomputed from query and key; rows sum to 1."""
        query, key = self.site(layer_site(layer, "attn.query")), self.site(layer_site(layer, "attn.key"))
        if not 0 <= head < self.spec.n_heads:
            raise MisuseError(f"no head {head}; a layer of this decoder has heads 0 to {self.spec.n_heads - 1}")
        kind, keys = self.spec.layers[layer], key[:, head // self.spec.sharing]
        return attention_pattern(query[:, head], keys, self.spec.scale, kind.window, kind.score_cap)

    def neurons(self, layer: int) -> Float32[np.ndarray, "token neuron"]:
        """The FFN's activations that enter the down projection."""
        return self.site(layer_site(layer, "ffn.neurons"))

    def acting(self, layer: int) -> Int64[np.ndarray, " neuron"]:
        """The neurons of an FFN that no edit of this run ablates; none where the FFN is ablated."""
        if layer in self.ablated.ffns:
            return np.zeros(0, np.int64)
        return np.delete(np.arange(self.spec.layers[layer].ffn.d_ff), self.ablated.neurons_of(layer))

    def acting_neurons(self, layer: int) -> Float32[np.ndarray, "token neuron"]:
        """The activations of `acting` neurons alone: what sparsity is measured on."""
        neurons = self.neurons(layer)
        return neurons[:, self.acting(layer)] if layer in self.ablated.ffn_layers else neurons

    def save(self, path: str | Path) -> Path:
        """Writes the trace to one safetensors file; a write that fails leaves no file."""
        record = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "sites"}
        record |= {"spec": spec_to_json(self.spec), "watch": asdict(self.watch), "timing": asdict(self.timing)}
        return write_store(Path(path), record, self.sites)


def open_trace(path: str | Path) -> Trace:
    """Reads a trace that `Trace.save` wrote; sites stay on disk until they are used.

    Raises:
        EdgeError: there is no trace, or it is damaged; the message says what does not fit.
    """
    path = Path(path)
    record, places = read_store(path)
    hints = {name: kind for name, kind in get_type_hints(Trace).items() if name not in ("spec", "sites")}
    try:
        told = {name: read_value(kind, record[name], name) for name, kind in hints.items()}
        spec = spec_from_json(record["spec"])
        trace = Trace(**told, spec=spec, sites={name: place.read() for name, place in places.items()})
        _check_lengths(trace)
    except KeyError as error:
        raise damaged(path, f"it has no {error}") from error
    except (ValueError, TypeError, AttributeError, EdgeError) as error:
        raise damaged(path, error) from error
    return trace


def _check_lengths(trace: Trace) -> None:
    """What belongs together is equally long, and every site has the shape that the spec gives it."""
    tokens = len(trace.tokens)
    if not (0 <= trace.prompt_length <= tokens and 0 <= trace.n_fed <= tokens):
        raise ValueError(f"{trace.prompt_length} tokens of a prompt and {trace.n_fed} fed, of {tokens}")
    if len(trace.pieces) != tokens or len(trace.logprobs) != len(trace.generated):
        raise ValueError(f"{len(trace.pieces)} pieces and {len(trace.logprobs)} probabilities for {tokens} tokens")
    known = sites_of(trace.spec) if trace.sites else {}
    for name, value in trace.sites.items():
        wanted = (trace.n_fed, *known[name].row_shape) if name in known else None
        if value.shape != wanted or value.dtype not in (np.float32, np.float16):
            raise ValueError(f"'{name}' is {value.dtype} {value.shape}, this decoder has {wanted} there")
