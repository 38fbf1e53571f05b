"""A runtime without sites is compared by predictions, speed and memory; what sites would show is blank."""

import csv
import io
import json
import re
from dataclasses import fields, replace

import pytest

from edge.commands.compare import sections
from edge.commands.compare_tables import variant_table
from edge.compare.predictions import PredictionDifference
from edge.compare.result import Comparison, from_json, to_json
from edge.laws.registry import law_5
from edge.report.comparison_section import comparison_section
from tests.edge.compare.beside import LLAMA_CPP, compared_beside
from tui.parity_table import as_table, first_differences, headings, layer_lines, site_lines, sum_lines


@pytest.fixture(scope="module")
def found() -> Comparison:
    return compared_beside("torch", "torch", LLAMA_CPP)


@pytest.fixture(scope="module")
def turned() -> Comparison:
    """With the runtime as the reference."""
    return compared_beside(LLAMA_CPP, "torch")


def test_predictions_are_those_of_an_engine_with_the_same_weights(found: Comparison) -> None:
    engine, beside = found.variants
    for field in fields(PredictionDifference):
        assert getattr(beside.predictions, field.name) == getattr(engine.predictions, field.name), field.name
    assert beside.predictions.kl_mean_nats > 0 and beside.perplexity == engine.perplexity
    assert beside.first_divergent_token == engine.first_divergent_token is not None
    assert beside.speed.decode_ms > 0 and beside.memory.kv_bytes > 0


def test_it_has_nothing_from_inside(found: Comparison, turned: Comparison) -> None:
    engine, beside = found.variants
    assert engine.has_sites and engine.sites and engine.first_divergent_site is not None
    for one in (beside, *turned.variants):
        assert (one.sites, one.heads, one.routing, one.first_divergent_site) == ({}, (), (), None)
    assert not beside.has_sites and not turned.reference.has_sites
    assert turned.variants[0].sparsity == engine.sparsity, "an engine's own numbers depend on the reference"


def test_its_weights_are_counted_as_they_are_stored(found: Comparison) -> None:
    """In the format of the file, which here is float32."""
    engine, beside = found.variants
    assert beside.memory.weights_memory_bytes == engine.memory.weights_memory_bytes


def test_tables_leave_its_sites_blank(found: Comparison) -> None:
    shown = sections(found, "text", 200)
    assert shown[0].endswith("Without sites, so compared by predictions, speed and memory: llama.cpp.")
    places = shown[2].splitlines()
    assert places[-1].split() == ["llama.cpp", "-", "-", "-", "-", "-"] and "layers.3" in places[-2]
    assert [part.partition(",")[0] for part in shown if "layer by layer" in part] == ["torch"], "it has a layer table"
    rows = list(csv.DictReader(io.StringIO(variant_table(found).csv())))
    assert rows[2]["engine"] == LLAMA_CPP and rows[2]["tolerance"] == "" and float(rows[2]["kl_mean_nats"]) > 0


def test_a_reference_without_sites_has_no_table_of_sites(turned: Comparison) -> None:
    shown = "\n\n".join(sections(turned, "text", 80))
    assert "sites on the first" not in shown and "First site" not in shown and "layer by layer" not in shown
    assert "top-1 agreement" in shown and "First different token" in shown


def test_it_survives_json(found: Comparison, turned: Comparison) -> None:
    for one in (found, turned):
        record = to_json(one)
        assert to_json(from_json(json.loads(json.dumps(record)))) == record


def test_the_page_draws_it(found: Comparison, turned: Comparison) -> None:
    texts = [
        re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", comparison_section(one, "healthy").markup))
        for one in (found, turned)
    ]
    assert "llama.cpp no sites" in texts[0] and "Without sites: llama.cpp." in texts[0]
    assert "first site over tolerance layers.3.ffn.output –" in texts[0]
    assert "first site over tolerance –" in texts[1], "nothing was compared, and the page says that nothing differs"


def test_the_view_of_parity_draws_it(found: Comparison, turned: Comparison) -> None:
    assert headings(found)[1] == (LLAMA_CPP, "")
    assert {line.cells[1].text for line in (*site_lines(found), *layer_lines(found))} == {"–"}
    assert "llama.cpp" not in first_differences(found), "it is said to be within tolerance"
    assert as_table(found).rows[0][2] is None
    assert site_lines(turned) == layer_lines(turned) == () and first_differences(turned) == "no sites were compared"
    assert [len(line.cells) for line in sum_lines(turned)] == [1] * len(sum_lines(turned))
    assert law_5(turned).passed is None and law_5(found).worst == law_5(compared_only(found)).worst


def compared_only(found: Comparison) -> Comparison:
    """The comparison without the runtime."""
    return replace(found, variants=found.variants[:1])
