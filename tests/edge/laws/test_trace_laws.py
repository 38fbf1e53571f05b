"""Law 4: what every sublayer adds to a difference of logits sums to the difference, on every engine."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import edge
from edge.laws.trace_laws import before_cap, law_4, logit_difference
from edge.measure.attribution import (
    Attribution,
    attribute,
    attribute_heads,
    attribute_neurons,
    read_difference,
)
from edge.measure.lens import lens_of_trace
from edge.readout import Readout, open_output_projection, open_readout
from edge.session import Model
from edge.trace import Trace
from edge.watch import Watch
from models.checkpoint import Checkpoint
from models.errors import MisuseError
from models.precision import Scheme, Zero
from models.quantized_file import open_quantized, write_quantized
from tests.edge.laws.assertions import (
    CLOSE,
    ENGINES,
    check_law_1,
    check_law_4,
    check_law_6,
    off_by,
    tiny_model,
)
from tests.edge.laws.test_every_engine import watched_run
from tests.shared import shared
from tests.tiny import TINY_SPECS, tiny_checkpoint

WITHOUT_SUM = {name for name, spec in TINY_SPECS.items() if any(layer.norms_sum for layer in spec.layers)}


@pytest.fixture(params=TINY_SPECS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=ENGINES)
def model(request: pytest.FixtureRequest, name: str) -> Iterator[Model]:
    with tiny_model(name, request.param) as opened:
        yield opened


def check_lens(trace: Trace, readout: Readout, close: float) -> None:
    logits, last = trace.site("logits"), trace.site(f"layers.{trace.spec.n_layers - 1}.output")
    worst = off_by(readout.logits(last), logits)
    assert worst < close, f"{trace.engine}: the lens on the last layer is not the engine's answer, off by {worst:.2g}"
    found = lens_of_trace(trace, readout, slice(0, 3), np.asarray(trace.tokens[1:4]), k=2)
    sure = np.diff(np.sort(logits[:3], axis=-1)[:, -2:])[:, 0] > 10 * close * np.abs(logits).max()
    assert (found.ids[-1, sure, 0] == logits[:3].argmax(-1)[sure]).all(), f"{trace.engine} answered otherwise"


def test_law_4_direct_attributions_sum_to_the_logit_difference(name: str, model: Model) -> None:
    trace, readout = watched_run(model, Watch.all()), open_readout(model.checkpoint)
    if name in WITHOUT_SUM:
        with pytest.raises(MisuseError, match="norms the residual stream after each sublayer"):
            attribute(trace, readout, 17, 4, token=2)
        reported = law_4(trace, readout, CLOSE)
        assert reported.passed is None and "norms the sum after each sublayer" in reported.where
    else:
        check_law_4(trace, readout)


def test_the_lens_on_the_last_layer_is_what_the_engine_answered(model: Model) -> None:
    check_lens(watched_run(model, Watch.all()), open_readout(model.checkpoint), CLOSE)


def check_inside(whole: Attribution, sublayer: str, inside: Attribution, largest: float) -> None:
    want = float(whole.logits[whole.names.index(sublayer)])
    worst = abs(inside.total - want) / largest
    assert worst < CLOSE, f"the parts of {sublayer} do not sum to what it adds, off by {worst:.2g}"


@pytest.mark.parametrize("name", sorted(TINY_SPECS.keys() - WITHOUT_SUM))
def test_heads_and_neurons_sum_to_their_sublayer(name: str) -> None:
    with tiny_model(name, "torch") as model:
        trace, checkpoint = watched_run(model, Watch.all()), model.checkpoint
    readout, logits = open_readout(checkpoint), before_cap(trace)
    for token in (0, 6, trace.n_fed - 1):
        whole, reading = attribute(trace, readout, 17, 4, token), read_difference(trace, readout, 17, 4, token)
        want = logit_difference(logits, 17, 4)[token]
        assert abs(whole.total - want) < CLOSE * np.abs(logits).max(), f"token {token} is off law 4"
        for layer in range(trace.spec.n_layers):
            heads = attribute_heads(trace, reading, open_output_projection(checkpoint, layer, "attn"), layer, token)
            neurons = attribute_neurons(trace, reading, open_output_projection(checkpoint, layer, "ffn"), layer, token)
            check_inside(whole, f"layers.{layer}.attn", heads, np.abs(logits).max())
            check_inside(whole, f"layers.{layer}.ffn", neurons, np.abs(logits).max())
            assert len(heads.logits) == trace.spec.n_heads + 1
            assert len(neurons.logits) == trace.spec.layers[layer].ffn.d_ff + 1


@pytest.mark.parametrize("name", ["llama-shared-heads-tied", "normed-heads-scaled-rotary-head-bias"])
def test_law_4_holds_on_quantized_weights(name: str, tmp_path: Path) -> None:
    dense, file = tiny_checkpoint(name), tmp_path / "model.safetensors"
    write_quantized(dense.spec, dense.weights, Scheme(4, 32, Zero.WHOLE), file, lambda _: None)
    quantized = Checkpoint(dense.source, dense.spec, *open_quantized(file, dense.spec))
    with Model(quantized, "torch", None, lambda _: None) as model:
        trace = watched_run(model, Watch.all())
    check_law_4(trace, open_readout(quantized))
    check_lens(trace, open_readout(quantized), CLOSE)


def test_a_token_that_was_not_fed_is_refused() -> None:
    with tiny_model("llama-shared-heads-tied", "torch") as model:
        trace, readout = watched_run(model, Watch.all()), open_readout(model.checkpoint)
    for token in (-1, trace.n_fed):
        with pytest.raises(MisuseError, match=f"tokens 0 to {trace.n_fed - 1}"):
            attribute(trace, readout, 17, 4, token)


TRAINED = ("fable-relu", "fable-gelu", "fable-moe", "stories260K")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", TRAINED)
def test_laws_1_4_and_6_hold_on_trained_models(name: str, engine: str) -> None:
    with edge.load(shared(name) if name == "stories260K" else name, engine) as model:
        trace = model.run("Once upon a time there was a", max_new_tokens=4, watch=Watch.all(), stop_tokens=())
        readout = open_readout(model.checkpoint)
        check_law_1(trace, model.checkpoint)
        check_law_4(trace, readout)
        check_lens(trace, readout, CLOSE)
        check_law_6(model, list(trace.tokens[: trace.n_fed]))
