"""A new kind of mixer and of FFN needs its description and its modules, and nothing else knows of it."""

from collections.abc import Iterator

import numpy as np
import pytest

import edge
from edge.laws.case import Case
from edge.laws.run_laws import law_2, law_8
from edge.profile.work import work_of
from edge.session import Model
from edge.timing import Grain
from export.graphs import build
from models.parameters import parameter_shapes
from models.parts import TimedParts
from models.sites import sites_of
from models.spec import DecoderSpec, LayerSpec, NoPosition, RMSNorm, Sequential
from models.spec_json import spec_from_json, spec_to_json
from models.states import states_of
from tests.edge.laws.assertions import CLOSE, ENGINES, PROMPT, check, off_by
from tests.models.sublayers.toy_kinds import Squares, Sum
from tests.tiny import TINY_SPECS, FakeCheckpoint, tiny_weights

_ATTENDING = TINY_SPECS["llama-shared-heads-tied"].layers[0]
SPEC = DecoderSpec(
    vocab_size=96,
    d_model=32,
    context=64,
    positions=NoPosition(),
    layers=(
        LayerSpec(mixer=Sum(12), ffn=Squares(40), norm=RMSNorm(eps=1e-5), residual=Sequential()),
        _ATTENDING,
        LayerSpec(mixer=Sum(8), ffn=_ATTENDING.ffn, norm=RMSNorm(eps=1e-5), residual=Sequential()),
    ),
    norm=RMSNorm(eps=1e-5),
    tied=False,
)


@pytest.fixture(scope="module", params=ENGINES)
def model(request: pytest.FixtureRequest) -> Iterator[Model]:
    with Model(FakeCheckpoint(SPEC, tiny_weights(SPEC, 0)), request.param, None, lambda _: None) as opened:
        yield opened


def test_descriptions_are_folded_into_parameters_sites_parts_states_and_work() -> None:
    shapes, sites = parameter_shapes(SPEC), sites_of(SPEC)
    assert shapes["layers.0.attn.value.weight"] == (12, 32) and shapes["layers.0.ffn.down.weight"] == (32, 40)
    assert sites["layers.0.attn.sums"].row_shape == (12,) and "layers.0.attn.query" not in sites
    assert "layers.0.ffn.square" in TimedParts(SPEC).ordered
    assert list(states_of(SPEC)) == ["0.sum", "1.key", "1.value", "2.sum"]
    work = work_of(SPEC, lambda name, shape: 4.0 * np.prod(shape), 4, 1, 3)
    assert work["layers.0.ffn.up"].flops == 2 * 40 * 32
    assert spec_from_json(spec_to_json(SPEC)) == SPEC


def test_its_graph_has_its_state_and_its_sites() -> None:
    graph = build(SPEC, "probe").graph
    assert {"past_key_values.0.sum", "past_key_values.1.key"} <= {value.name for value in graph.inputs}
    outputs = {str(value.name): value.shape for value in graph.outputs}
    assert tuple(outputs["present.0.sum"] or ()) == (1, 12) and "layers.0.attn.sums" in outputs


def test_engines_agree_at_every_site(model: Model) -> None:
    with Model(model.checkpoint, "torch", None, lambda _: None) as reference:
        want = reference.run(ids=PROMPT, max_new_tokens=4, watch=edge.Watch.all(), stop_tokens=())
    got = model.run(ids=PROMPT, max_new_tokens=4, watch=edge.Watch.all(), stop_tokens=())
    assert got.tokens == want.tokens
    for name, values in want.sites.items():
        assert off_by(got.sites[name], values) < CLOSE, f"{name} on {model.engine}"


def test_decoding_is_the_full_pass_and_edits_reach_it(model: Model) -> None:
    check(law_2(Case(model, PROMPT)), model.engine)
    check(law_8(Case(model, PROMPT)), model.engine)
    plain = model.run(ids=PROMPT, max_new_tokens=0, watch=edge.Watch.all())
    edits = [edge.ScaleNeuron(0, 3, 0.0), edge.Ablate("layers.2.attn")]
    edited = model.run(ids=PROMPT, max_new_tokens=0, watch=edge.Watch.all(), edits=edits)
    assert (
        np.abs(plain.site("layers.0.ffn.neurons")[:, 3]).max() > 0
        and not edited.site("layers.0.ffn.neurons")[:, 3].any()
    )
    assert not edited.site("layers.2.attn.output").any()


def test_an_engine_goes_back_to_a_mark_with_a_copy_of_the_state(model: Model) -> None:
    ids = np.array(PROMPT, np.int64)

    def back_and_forth(engine: object) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        engine.clear()
        engine.reserve(32)
        engine.feed(ids[:6], edge.Watch.nothing())
        six = engine.mark()
        first = engine.feed(ids[6:], edge.Watch.nothing()).logits.copy()
        engine.feed_instrumented(ids[:1], 2, Grain.SUBLAYER)
        engine.restore(six)
        second = engine.feed(ids[6:], edge.Watch.nothing()).logits.copy()
        engine.clear()
        engine.feed(ids[:6], edge.Watch.nothing())
        return first, second, engine.feed(ids[6:], edge.Watch.nothing()).logits.copy()

    first, second, anew = model.with_engine(back_and_forth)
    assert np.array_equal(first, second), f"{model.engine} does not repeat itself from a mark"
    assert np.array_equal(first, anew), f"{model.engine} keeps something of the text before"
