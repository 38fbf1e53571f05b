"""Edits: the same change in every engine, nothing beyond it, and none where its strength is one."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import edge
from edge.change import Change, Edit, changes
from edge.engines.choice import EngineChoice
from edge.engines.onnx_engine import OnnxEngine
from edge.generate import logits_of
from edge.session import Model
from edge.trace import Trace
from edge.watch import Watch
from models.errors import MisuseError
from models.precision import Float
from models.sites import LOGITS, layer_site, sites_of
from models.spec import DecoderSpec, MoE
from tests.edge.laws.assertions import CLOSE, ENGINES, PROMPT, off_by, tiny_model
from tests.tiny import TINY_SPECS, tiny_checkpoint


class InFloat16:
    """The float16 graph on a CPU, which `load` refuses there as slow: it casts around most operators."""

    def __init__(self, name: str) -> None:
        self._engine = OnnxEngine(tiny_checkpoint(name), EngineChoice("onnx", Float("fp16")), 1, lambda _: None)

    def logits(self, ids: list[int], edits: Sequence[Edit]) -> np.ndarray:
        return logits_of(self._engine, tuple(ids), edits)

    def close(self) -> None:
        self._engine.close()


def watched(model: Model, edits: Sequence[Edit] = ()) -> Trace:
    return model.run(ids=PROMPT, max_new_tokens=0, watch=Watch.all(), edits=edits)


def drawn(spec: DecoderSpec, site: str, tokens: int) -> np.ndarray:
    return np.random.default_rng(7).standard_normal((tokens, *sites_of(spec)[site].changed_shape)).astype(np.float32)


def editable(spec: DecoderSpec) -> list[str]:
    return [name for name, site in sites_of(spec).items() if name != LOGITS and site.editable]


def recorded(trace: Trace, site: str) -> np.ndarray:
    """The values of a site in the shape of an edit: neurons of chosen experts at their experts, NaN elsewhere."""
    found = sites_of(trace.spec)[site]
    if found.row_shape == found.changed_shape:
        return trace.site(site)
    chosen = trace.site(f"layers.{found.layer}.ffn.chosen").astype(int)
    whole = np.full((trace.n_fed, *found.changed_shape), np.nan, np.float32)
    np.put_along_axis(whole, chosen[:, :, None], trace.site(site), axis=1)
    return whole


def edits_of(spec: DecoderSpec) -> dict[str, tuple[Edit, ...]]:
    """One or more edits of every kind, by what they are."""
    last, put = spec.n_layers - 1, drawn(spec, "layers.0.input", 1)
    experts = [(layer, kind.ffn) for layer, kind in enumerate(spec.layers) if isinstance(kind.ffn, MoE)]
    return (
        {
            "a head off": (edge.ScaleHead(last, spec.n_heads - 1, 0.0),),
            "a head doubled at two tokens": (edge.ScaleHead(0, 0, 2.0, tokens=(2, 9)),),
            "two neurons": (edge.ScaleNeuron(0, 3, 0.0), edge.ScaleNeuron(0, 5, -2.5, tokens=(1, 4))),
            "attention ablated": (edge.Ablate("layers.0.attn"),),
            "an FFN ablated at a token": (edge.Ablate(f"layers.{last}.ffn", tokens=(4,)),),
            "noise": (edge.Noise((1, 2, 5), 0.5, seed=3),),
            "two of one site": (
                edge.Noise((1,), 0.5),
                edge.Replace("layers.0.input", (1,), put),
            ),
        }
        | {f"{site} replaced": (edge.Replace(site, (6, 2), drawn(spec, site, 2)),) for site in editable(spec)}
        | {
            what: edit
            for layer, kind in experts[:1]
            for what, edit in {
                "an expert off": tuple(edge.ScaleExpert(layer, expert, 0.0) for expert in range(kind.n_experts // 2)),
                "experts doubled at two tokens": tuple(
                    edge.ScaleExpert(layer, expert, 2.0, tokens=(1, 7)) for expert in range(kind.n_experts)
                ),
                "an expert forced": (edge.ChooseExpert(layer, kind.n_experts - 1),),
                "an expert forbidden at a token": (edge.ChooseExpert(layer, 1, -1e4, tokens=(9, 3, 4)),),
            }.items()
        }
    )


@pytest.fixture(params=TINY_SPECS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=ENGINES)
def model(request: pytest.FixtureRequest, name: str) -> Iterator[Model]:
    with tiny_model(name, request.param) as opened:
        yield opened


def test_law_8_an_edit_of_strength_one_changes_nothing(model: Model) -> None:
    spec, before = model.spec, watched(model)
    neutral: list[Edit] = [
        edge.ScaleHead(0, 0, 1.0),
        edge.ScaleNeuron(0, 3, 1.0, tokens=(2,)),
        edge.Noise((1, 2), 0.0),
        *(edge.Replace(site, (4, 7), np.nan_to_num(recorded(before, site)[[4, 7]])) for site in editable(spec)),
    ]
    after = watched(model, neutral)
    for site in sites_of(spec):
        assert np.array_equal(after.site(site), before.site(site)), f"{model.engine}: {site} moved without an edit"


@pytest.mark.parametrize("engine", ["onnx", "mlx"])
def test_every_edit_is_the_same_in_every_engine(name: str, engine: str) -> None:
    with tiny_model(name, "torch") as reference, tiny_model(name, engine) as model:
        plain = reference.logits(PROMPT)
        for what, edits in edits_of(model.spec).items():
            want = reference.logits(PROMPT, edits)
            worst = off_by(model.logits(PROMPT, edits), want)
            assert worst < CLOSE, f"{engine} leaves torch by {worst:.2g} with {what}"
            assert off_by(want, plain) > CLOSE, f"{what} changed nothing"


def test_what_an_edit_leaves_is_as_it_was(model: Model) -> None:
    before = watched(model)
    for what, edits in edits_of(model.spec).items():
        model.logits(PROMPT, edits)
        assert np.array_equal(watched(model).site(LOGITS), before.site(LOGITS)), f"{model.engine}: {what} stays behind"


def test_a_replaced_value_is_what_the_trace_shows(model: Model) -> None:
    before = watched(model)
    for site in editable(model.spec):
        value = drawn(model.spec, site, 2)
        after = recorded(watched(model, [edge.Replace(site, (6, 2), value)]), site)
        shown = ~np.isnan(after[[6, 2]])
        assert np.array_equal(after[[6, 2]][shown], value[shown]), f"{model.engine}: {site} is not what was put there"
        others = [token for token in range(len(PROMPT)) if token not in (6, 2)]
        left, was = (np.nan_to_num(one[others]) for one in (after, recorded(before, site)))
        assert off_by(left, was) < CLOSE, f"{model.engine}: {site} moved elsewhere too"


def test_the_stream_between_two_layers_is_one_place_with_two_names(model: Model) -> None:
    first, second = (drawn(model.spec, "layers.0.output", 2) + shift for shift in (0, 1))
    left, entered = edge.Replace("layers.0.output", (6, 2), first), edge.Replace("layers.1.input", (6, 2), second)
    for edits, value in (((left,), first), ((entered,), second), ((left, entered), second), ((entered, left), first)):
        trace = watched(model, edits)
        for site in ("layers.0.output", "layers.1.input"):
            assert np.array_equal(trace.site(site)[[6, 2]], value), f"{model.engine}: {site} shows no edit of the other"
    by_either = [model.logits(PROMPT, [edge.Replace(edit.site, (6, 2), first)]) for edit in (left, entered)]
    assert np.array_equal(*by_either), f"{model.engine}: it matters by which name the stream was edited"


def test_a_decoder_with_every_sublayer_ablated_reads_the_embedding(model: Model) -> None:
    if any(layer.norms_sum for layer in model.spec.layers):
        pytest.skip("a norm of the sum is no sublayer: it stays when both are silent")
    layers = range(model.spec.n_layers)
    trace = watched(model, [edge.Ablate(f"layers.{i}.{part}") for i in layers for part in ("attn", "ffn")])
    last = trace.site(layer_site(model.spec.n_layers - 1, "output"))
    assert np.array_equal(last, trace.site("layers.0.input")), f"{model.engine}: something was still added"


def test_attention_without_heads_is_its_bias(model: Model) -> None:
    off = [edge.ScaleHead(0, head, 0.0) for head in range(model.spec.n_heads)]
    trace = watched(model, off)
    output = trace.site("layers.0.attn.output")
    assert not trace.site("layers.0.attn.heads").any()
    assert np.allclose(output, output[:1], rtol=0, atol=1e-6), f"{model.engine}: tokens differ with every head off"


def test_edits_act_alike_at_once_in_chunks_and_token_by_token(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    for what, edits in edits_of(model.spec).items():
        run = model.run(ids=PROMPT[:6], max_new_tokens=5, watch=Watch.all(), edits=edits, stop_tokens=())
        ids = list(run.tokens[: run.n_fed])
        with monkeypatch.context() as patch:
            whole = model.logits(ids, edits)
            patch.setattr("edge.generate.CHUNK", 3)
            chunked = model.logits(ids, edits)
        assert off_by(run.site(LOGITS), whole) < CLOSE, f"{model.engine}: {what} differs token by token"
        assert off_by(chunked, whole) < CLOSE, f"{model.engine}: {what} differs in chunks"


@pytest.mark.parametrize("engine", ["torch:bf16", "mlx:bf16", "mlx:fp16", "onnx:int8-acc0", "mlx:int8", "onnx:fp16"])
def test_edits_act_in_other_precisions_too(engine: str) -> None:
    """The same edits in few bits are near those in float32, nearer than the model without them."""
    name = "llama-shared-heads-tied"
    with tiny_model(name, "torch") as model:
        plain = model.logits(PROMPT)
        wanted = {what: model.logits(PROMPT, edits) for what, edits in edits_of(model.spec).items()}
        spec = model.spec
    found = InFloat16(name) if engine == "onnx:fp16" else Model(tiny_checkpoint(name), engine, None, lambda _: None)
    for what, edits in edits_of(spec).items():
        got = found.logits(PROMPT, edits)
        near, far = off_by(got, wanted[what]), off_by(plain, wanted[what])
        assert near < min(0.15, 0.5 * far), f"{engine} with {what} is {near:.2g} from float32, {far:.2g} without it"
    found.close()


def test_a_trace_says_what_was_edited() -> None:
    with tiny_model("neox-full-rotary-relu", "onnx") as model:
        edits = [edge.ScaleHead(1, 0, 0.0), edge.Ablate("layers.2.ffn", tokens=(3,)), edge.Noise((1, 2), 0.5)]
        trace = watched(model, edits)
    assert trace.edits == (
        "head 1.0 ablated",
        "FFN of layer 2 ablated at token 3",
        "noise of 0.5 on the embeddings at 2 tokens",
    )


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (edge.ScaleHead(0, 2, 0.0), "no head 2; layer 0 has heads 0 to 1"),
        (edge.ScaleHead(9, 0, 0.0), "no site 'layers.9.attn.heads'"),
        (edge.ScaleNeuron(0, 128, 0.0), "no neuron 128; layer 0 has neurons 0 to 127"),
        (edge.Ablate("layers.7.ffn"), "no site 'layers.7.ffn.output'"),
        (edge.Replace("logits", (0,), np.zeros((1, 128))), "logits cannot be edited"),
        (edge.Replace("layers.0.input", (0, 1), np.zeros((1, 32))), r"has shape \(2, 32\), got \(1, 32\)"),
        (edge.Replace("layers.0.input", (0,), np.full((1, 32), np.nan)), "not all finite"),
        (edge.Noise((0,), -1.0), "a standard deviation of 0 or more, got -1"),
        (edge.Ablate("layers.0.ffn", tokens=(10,)), "cannot edit token 10: this run has tokens 0 to 9"),
    ],
)
def test_an_edit_of_what_is_not_there_is_refused(edit: Edit, message: str) -> None:
    with tiny_model("neox-full-rotary-relu", "torch") as model, pytest.raises(MisuseError, match=message):
        model.logits(PROMPT, [edit])


def test_only_a_sublayer_can_be_ablated() -> None:
    message = r"no sublayer .layers\.0. to ablate; use a name such as .layers\.4\.attn. or .layers\.4\.ffn."
    with pytest.raises(MisuseError, match=message):
        edge.Ablate("layers.0")


numbers = arrays.arrays(np.float32, (4, 3), elements=st.floats(-8, 8, width=32))


@settings(max_examples=40)
@given(value=numbers, first=st.tuples(numbers, numbers), second=st.tuples(numbers, numbers))
def test_two_changes_in_one_are_one_after_the_other(
    value: np.ndarray, first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]
) -> None:
    one, other = Change(*first), Change(*second)
    both = one.then(other)
    after = (value * one.scale + one.shift) * other.scale + other.shift
    assert np.allclose(value * both.scale + both.shift, after, rtol=1e-4, atol=1e-2)


@settings(max_examples=40)
@given(cut=st.integers(0, 10), tokens=st.sets(st.integers(0, 9), min_size=1))
def test_a_run_in_two_passes_is_edited_as_in_one(cut: int, tokens: set[int]) -> None:
    spec, chosen = TINY_SPECS["neox-full-rotary-relu"], tuple(sorted(tokens))
    for edit in (
        edge.Noise(chosen, 1.0),
        edge.ScaleHead(0, 1, 0.5, tokens=chosen),
        edge.Ablate("layers.0.ffn", chosen),
    ):
        value = np.ones((10, *sites_of(spec)[edit.site].row_shape), np.float32)

        def applied(rows: range, edit: Edit = edit, value: np.ndarray = value) -> np.ndarray:
            made = changes([edit], spec, rows).get(edit.site)
            part = value[rows.start : rows.stop]
            return part if made is None else part * made.scale + made.shift

        pieces = np.concatenate([applied(range(cut)), applied(range(cut, 10))])
        assert np.array_equal(pieces, applied(range(10))), f"{edit} differs where a run is cut at token {cut}"
