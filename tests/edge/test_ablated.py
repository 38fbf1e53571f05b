"""What is ablated is named, counted nowhere as inactive by itself, and known again when a trace is opened."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

import edge
from edge.ablated import Ablated, ablated
from edge.change import Edit
from edge.cli import exit_code
from edge.commands.trace import layer_table
from edge.edits import ablation_of
from edge.insight.neurons import neurons_at, read_cett, read_coefficients, read_neurons
from edge.insight.ov_circuit import read_ov_circuit
from edge.insight.weights import InsightWeights
from edge.measure.overview import survey
from edge.measure.registry import MEASURES
from edge.measure.sparsity import exact_zero_share, top_p_sparsity
from edge.mixture_neurons import ablated_neurons, expert_neurons, expert_of, size_text, sizes_text
from edge.report.page import report_page
from edge.report.trace_values import attention_maps, ffn_sparsity
from edge.session import Model
from edge.trace import Trace, open_trace
from edge.watch import Watch
from models.errors import MisuseError
from models.spec import MoE
from tests.edge.laws.assertions import PROMPT, tiny_model
from tests.edge.report.example_traces import read_page
from tests.folders import write_byte_llama
from tests.mixtures import EXPERTS, WIDTH, mixture_model, mixture_spec
from tests.tiny import TINY_SPECS, tiny_checkpoint

NAME = "neox-full-rotary-relu"
EDITS = (edge.ScaleHead(1, 0, 0.0), edge.ScaleNeuron(0, 5, 0.0), edge.Ablate("layers.2.ffn"))


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with tiny_model(NAME, "torch") as opened:
        yield opened


def run(model: Model, edits: Sequence[Edit] = EDITS) -> Trace:
    return model.run(ids=PROMPT, max_new_tokens=0, watch=Watch.all(), edits=edits)


def test_edits_are_named_by_layer_and_place() -> None:
    named = {
        edge.ScaleHead(3, 5, 0.0): "head 3.5 ablated",
        edge.ScaleNeuron(4, 1023, 0.0): "neuron 4.1023 ablated",
        edge.Ablate("layers.2.ffn"): "FFN of layer 2 ablated",
        edge.Ablate("layers.2.attn"): "attention of layer 2 ablated",
        edge.ScaleHead(3, 5, 0.5): "head 3.5 × 0.5",
        edge.ScaleNeuron(4, 7, 2.0, tokens=(3,)): "neuron 4.7 × 2 at token 3",
    }
    assert {edit: str(edit) for edit in named} == named


def test_commands_name_what_to_ablate_by_layer_and_place() -> None:
    named = {
        "head:3.5": edge.ScaleHead(3, 5, 0.0),
        "neuron:4.1023": edge.ScaleNeuron(4, 1023, 0.0),
        "attention:2": edge.Ablate("layers.2.attn"),
        "ffn:0": edge.Ablate("layers.0.ffn"),
    }
    assert {text: ablation_of(text) for text in named} == named
    for text in ("head:3", "ffn:2.1", "neuron", "head:-1.0", "head:0." + "9" * 5000):
        with pytest.raises(MisuseError, match=r"use head:LAYER\.HEAD"):
            ablation_of(text)


def test_edge_trace_ablates_and_names_what_it_ablated(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder, file = write_byte_llama(tmp_path / "model"), tmp_path / "edited.trace"
    asked = ["trace", str(folder), "--ids", "1,5,2", "-n", "0", "-e", "torch", "-o", str(file), "--json"]
    assert exit_code([*asked, "--ablate", "head:1.0", "--ablate", "ffn:0"]) == 0
    reported = capfd.readouterr()
    assert "edits: head 1.0 ablated, FFN of layer 0 ablated" in reported.err, reported.err
    assert open_trace(file).edits == ("head 1.0 ablated", "FFN of layer 0 ablated")
    assert [row["exact_zero_share"] is None for row in json.loads(reported.out)] == [True, False]
    assert exit_code([*asked, "--ablate", "head:9.0"]) == 2, "a layer that is not there is ablated"


def test_names_of_edits_say_what_is_ablated_at_every_token() -> None:
    attention = edge.Ablate("layers.3.attn")
    found = ablated([*EDITS, attention, edge.ScaleHead(0, 1, 0.5), edge.ScaleNeuron(0, 9, 0.0, tokens=(2,))])
    assert found == Ablated(frozenset({(1, 0)}), frozenset({(0, 5)}), frozenset({3}), frozenset({2}))
    assert found.has_head(3, 7) and found.has_neuron(2, 99), "what a whole sublayer takes with it is not ablated"
    assert not found.has_head(0, 1) and not found.has_neuron(0, 9), "a scaled head or a part of the text is"


def test_what_a_later_edit_replaces_is_ablated_no_more() -> None:
    put = edge.Replace("layers.1.attn.heads", (2,), np.ones((1, 2, 16), np.float32))
    assert ablated([*EDITS, put]).heads == frozenset(), "a head whose site was replaced still counts as ablated"
    assert ablated([put, *EDITS]).heads == {(1, 0)}, "a replacement before the ablation ended it"


def test_a_saved_trace_knows_its_edits_and_what_they_ablate(model: Model, tmp_path: Path) -> None:
    opened = open_trace(run(model).save(tmp_path / "edited.trace"))
    assert opened.edits == ("head 1.0 ablated", "neuron 0.5 ablated", "FFN of layer 2 ablated")
    assert opened.ablated == ablated(EDITS)


def test_sparsity_counts_no_ablated_neuron_as_inactive(model: Model) -> None:
    edited = run(model)
    assert not edited.neurons(0)[:, 5].any(), "the ablated neuron is not 0 in the trace"
    others = np.delete(edited.neurons(0), 5, axis=1)
    (*_, known) = survey(edited)
    for name, measure in (("exact_zero_share", exact_zero_share), ("top_p_sparsity", top_p_sparsity)):
        np.testing.assert_array_equal(known.sparsity[name][0], measure(others), err_msg=f"{name} counts neuron 0.5")
    assert np.isnan(known.sparsity["exact_zero_share"][2]).all() and np.isnan(known.sparsity["gini"][2]).all(), (
        "an ablated FFN has a sparsity"
    )
    assert np.isnan(known.heads.entropy_bits[1, 0]), "an ablated head is scored"
    assert not np.isnan(known.heads.entropy_bits[1, 1]), "its neighbor is not"


def test_an_ablated_ffn_recalls_nothing_and_an_ablated_head_copies_nothing(model: Model) -> None:
    edited, weights = run(model), InsightWeights(tiny_checkpoint(NAME), str)
    assert edited.neurons(2).any() and not neurons_at(edited, 2, 4).any(), "neurons of an ablated FFN are shown on"
    assert read_neurons(edited, weights, 2, 4) == () and read_coefficients(edited, 2, 4) == ()
    with pytest.raises(MisuseError, match="the FFN of layer 2 is ablated"):
        read_cett(edited, weights, 2)
    assert len(read_cett(edited, weights, 0).share) == len(PROMPT)
    with pytest.raises(MisuseError, match=r"head 1\.0 is ablated"):
        read_ov_circuit(edited, weights, 1, 0, 4, 3)


def test_a_report_names_the_edits_and_leaves_what_is_ablated_out_of_means(model: Model) -> None:
    edited = run(model)
    text = report_page(edited)
    page = read_page(text)
    assert "head 1.0 ablated · neuron 0.5 ablated · FFN of layer 2 ablated" in text, "the header names no edits"
    assert "layer 1, head 0: ablated" in text, "the head's map does not say that it is ablated"
    assert page.record["sparsity"]["layers"] == [0, 1], "the sparsity map has a line for the ablated FFN"
    sparsity, looks = ffn_sparsity(edited), attention_maps(edited, lambda _: None)
    assert sparsity is not None and looks is not None
    np.testing.assert_array_equal(
        sparsity.values["exact_zero_share"][0], exact_zero_share(np.delete(edited.neurons(0), 5, axis=1))
    )
    assert looks.not_ablated.tolist() == [[True, True], [False, True], [True, True]]
    assert "edits" not in report_page(run(model, ())), "a run without edits speaks of edits"


def test_a_report_of_a_run_in_which_everything_is_ablated_has_no_numbers_of_it(model: Model) -> None:
    every = [edge.Ablate(f"layers.{layer}.{part}") for layer in range(3) for part in ("attn", "ffn")]
    text = report_page(run(model, every))
    assert text.count("<td>ablated") == (2 + len(MEASURES)) * 3, "a mean of ablated heads or neurons is told"
    assert "neurons are ablated in this run" in text


def test_the_table_of_edge_trace_leaves_out_what_is_ablated(model: Model) -> None:
    rows = layer_table(run(model)).records()
    assert rows[2]["exact_zero_share"] is None and rows[1]["exact_zero_share"] is not None
    alone = layer_table(run(model, [edge.Ablate("layers.1.attn")])).records()
    assert alone[1]["entropy_bits"] is None and alone[0]["entropy_bits"] is not None


def test_names_of_edits_say_which_experts_are_ablated() -> None:
    edits = [edge.ScaleExpert(3, 5, 0.0), edge.ChooseExpert(1, 2), edge.ScaleExpert(1, 4, 0.5)]
    assert ablated(edits) == Ablated(experts=frozenset({(3, 5)}))
    assert ablated(["expert 1.2 ablated", "expert 1.2 forced", "expert 1.3 forbidden"]).experts_of(1) == (2,)
    assert ablated(edits).ffn_layers == {3} and ablated(edits).layers == {3}
    put = edge.Replace("layers.3.ffn.router", (2,), np.ones((1, 6), np.float32))
    assert not ablated([*edits, put]).experts, "an expert whose weights were replaced still counts as ablated"


@pytest.mark.parametrize("shared", [False, True])
def test_neurons_of_an_ablated_expert_are_left_out_of_sparsity(shared: bool, tmp_path: Path) -> None:
    spec = mixture_spec(shared=shared)
    kind = spec.layers[2].ffn
    assert isinstance(kind, MoE)
    with mixture_model(spec) as model:
        intact = run(model, ())
        expert = int(intact.site("layers.2.ffn.chosen")[0, -1])
        edits = [ablation_of(f"expert:2.{expert}"), edge.ScaleNeuron(2, 0, 0.0)]
        edited = open_trace(run(model, edits).save(tmp_path / "edited.trace"))
    off = tuple(expert_neurons(kind, expert))
    assert len(off) == WIDTH and edited.ablated_neurons(2) == tuple(sorted({0, *off}))
    assert edited.ablated_neurons(2) == ablated_neurons(kind, edited.ablated, 2) and edited.ablated_neurons(0) == ()
    assert intact.neurons(2)[:, off].any() and not edited.neurons(2)[:, off].any()
    others = np.delete(edited.neurons(2), sorted({0, *off}), axis=1)
    assert edited.acting(2).tolist() == np.delete(np.arange(kind.d_ff), sorted({0, *off})).tolist()
    np.testing.assert_array_equal(edited.acting_neurons(2), others)
    (*_, known) = survey(edited)
    np.testing.assert_array_equal(known.sparsity["exact_zero_share"][2], exact_zero_share(others))
    assert not np.isnan(known.sparsity["gini"]).any(), "a layer with an ablated expert has no sparsity"


def test_a_run_in_which_every_expert_is_ablated_has_no_sparsity() -> None:
    with mixture_model() as model:
        edited = run(model, [edge.ScaleExpert(0, expert, 0.0) for expert in range(EXPERTS)])
    assert not len(edited.acting(0))
    (*_, known) = survey(edited)
    assert np.isnan(known.sparsity["exact_zero_share"][0]).all()


def test_a_neuron_belongs_to_an_expert() -> None:
    kind = mixture_spec(shared=True).layers[0].ffn
    assert isinstance(kind, MoE)
    places = [(0, 0), (WIDTH - 1, 0), (WIDTH, 1), (EXPERTS * WIDTH - 1, EXPERTS - 1)]
    assert [expert_of(kind, neuron)[0] for neuron, _ in places] == [expert for _, expert in places]
    assert expert_of(kind, EXPERTS * WIDTH) == (None, 0) and expert_of(kind, WIDTH + 3) == (1, 3)


def test_the_size_of_a_mixture_is_given_by_expert() -> None:
    assert size_text(mixture_spec().layers[0].ffn) == "6 experts of 10 neurons, 2 per token"
    assert size_text(mixture_spec(shared=True).layers[0].ffn).endswith("2 per token and a shared expert of 7")
    assert size_text(mixture_spec().layers[1].ffn) == "88"
    assert sizes_text(mixture_spec(), ", ") == "6 experts of 10 neurons, 2 per token; 88"
    assert sizes_text(mixture_spec(2000, 1), "/", "{:,}".format) == "88; 2,000 experts of 10 neurons, 1 per token"
    assert sizes_text(TINY_SPECS["layers-that-differ"], "/") == "40/56"


def test_commands_and_reports_say_the_size_of_a_mixture_by_expert() -> None:
    with mixture_model() as model:
        text = report_page(run(model, ()))
    assert "d_ff 6 experts of 10 neurons, 2 per token; 88" in text
