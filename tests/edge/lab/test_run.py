"""The lab itself: every claim is tested or has a reason why not, records open again, and misuse is one message."""

import json
from collections.abc import Iterator
from math import nan
from pathlib import Path

import pytest

import edge
from edge.lab.claim import (
    Curve,
    Experiment,
    Finding,
    Grid,
    Number,
    Series,
    not_applicable,
    shared_passage_only,
)
from edge.lab.context import LabContext
from edge.lab.contrast import contrast, measured_aspects
from edge.lab.effect import Verdict
from edge.lab.record import open_lab, to_json
from edge.lab.registry import EXPERIMENTS
from edge.lab.run import LabRecord, chosen, lab_record, run_all
from models.errors import EdgeError, MisuseError
from tests.edge.conftest import Said
from tests.edge.report.example_lab import made_effect

CLAIMS = ["F1", "F2", "F3", "F4", "F5", "F6", "A1", "A2", "A3", "A4", "A5", "A6", "R1", "S1", "S2", "S3"]


def made(key: str, finding: Finding) -> Experiment:
    return Experiment(
        key=key,
        title=f"claim {key}",
        question="?",
        method="by hand",
        rule="always",
        source="nobody",
        cost_tokens=shared_passage_only,
        measure=lambda _: finding,
    )


FOUND = Finding(
    "the result",
    (made_effect(),),
    (Number("some_bits", "some", 1.5, "bits", 0.25), Number("other", "another", nan, "share")),
    (Curve("a curve", "layer", ("0", "1"), "bits", (Series("one", (1.0, nan)),)),),
    (Grid("a grid", "layer", "head", "share", ((0.5, nan), (0.0, 1.0))),),
)


@pytest.fixture(scope="module")
def lab() -> Iterator[LabContext]:
    with edge.load("fable-relu", "onnx", threads=1) as model:
        yield LabContext(model, tokens=50)


def test_the_claims_are_those_of_the_plan() -> None:
    assert [experiment.key for experiment in EXPERIMENTS] == CLAIMS
    for experiment in EXPERIMENTS:
        for reported in ("title", "question", "method", "rule", "source"):
            assert getattr(experiment, reported), f"{experiment.key} does not say its {reported}"


def test_some_claims_can_be_chosen() -> None:
    assert [one.key for one in chosen(EXPERIMENTS, ["s1", "F4"])] == ["F4", "S1"]
    assert chosen(EXPERIMENTS, []) == list(EXPERIMENTS)
    with pytest.raises(MisuseError, match="no claim 'F9'; the claims are F1, F2"):
        chosen(EXPERIMENTS, ["F9"])


def test_a_record_opens_again_as_it_was(lab: LabContext, tmp_path: Path) -> None:
    record = lab_record(lab, run_all(lab, [made("X1", FOUND), made("X2", not_applicable("no heads"))]))
    (tmp_path / "lab.json").write_text(json.dumps(to_json(record), allow_nan=False), encoding="utf8")
    again = open_lab(tmp_path / "lab.json")
    assert json.dumps(to_json(again)) == json.dumps(to_json(record))
    assert again.results[1].finding.verdict is Verdict.NOT_APPLICABLE and again.number("X1.some_bits") == 1.5
    assert again.results[0].finding.verdict is Verdict.SUPPORTED and again.results[0].finding.effects == FOUND.effects
    assert again.number("X1.other") != again.number("X1.other"), "what was not found is not a number"
    assert again.passage_tokens == 50 and again.engine == "onnx"


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"kind": "edge lab", "format": 99}', '{"kind": "edge lab", "format": 3}']
)
def test_a_file_that_is_not_a_lab_record_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "lab.json").write_text(text, encoding="utf8")
    with pytest.raises(EdgeError, match="is not a lab that this Edge reads"):
        open_lab(tmp_path / "lab.json")
    with pytest.raises(EdgeError, match="there is no lab at"):
        open_lab(tmp_path / "absent.json")


def test_a_lab_of_an_older_format_says_how_it_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "lab.json").write_text('{"kind": "edge lab", "format": 1, "lab": {}}', encoding="utf8")
    with pytest.raises(
        EdgeError,
        match=r"it has format 1, this Edge reads format 3; write it again with 'edge lab MODEL --json > FILE'",
    ):
        open_lab(tmp_path / "lab.json")


def test_a_record_says_verdicts_and_reasons_to_whoever_reads_it_without_edge(lab: LabContext) -> None:
    (reported,) = to_json(lab_record(lab, run_all(lab, [made("X1", FOUND)])))["lab"]["results"]
    assert reported["finding"]["verdict"] == "supported" and reported["finding"]["effects"][0]["verdict"] == "supported"
    assert reported["finding"]["reason"] == "the lead: 34.0% [20.0%, 48.0%] is above 10.0%."


def test_the_summary_shows_a_dash_where_nothing_was_measured(lab: LabContext) -> None:
    empty = lab_record(lab, [])
    assert all("–" in aspect.attention and "–" in aspect.ffn for aspect in contrast(empty))


def test_the_command_compares_only_what_was_measured(lab: LabContext) -> None:
    found = Finding("wide", (), (Number("expansion_ratio", "expansion ratio", 4.0, "ratio"),))
    record = lab_record(lab, run_all(lab, [made("F3", found)]))
    (row,) = measured_aspects(record)
    assert row.name == "key structure" and "d_ff is 4.00 times d_model" in row.ffn
    assert not measured_aspects(lab_record(lab, []))


def test_the_summary_asks_for_numbers_that_experiments_give(lab: LabContext) -> None:
    """On a passage as short as this most numbers mean little; that each has its place is what is tested here."""
    asked: list[str] = []

    class Asked(LabRecord):
        def number(self, key: str) -> float:
            asked.append(key)
            return 0.5

    contrast(Asked("m", "e", {}, "s", 1, ()))
    assert {key.partition(".")[0] for key in asked} <= set(CLAIMS)


def test_the_command_prints_for_people_and_for_scripts(said: Said) -> None:
    code, out, _ = said("lab", "fable-relu", "--claim", "F3", "--claim", "S3", "--tokens", 400)
    assert code == 0 and "F3" in out and "S3" in out and "Attention and the FFN" in out and "F1  " not in out
    assert "95% interval" in out and "above 50.0%" in out, "the table of effects is not told"
    code, out, _ = said("lab", "fable-relu", "--claim", "F3", "--tokens", 400, "--md")
    assert (
        code == 0 and "| claim | verdict | effect | value | 95% interval | criterion | verdict of the effect |" in out
    )
    code, out, err = said("lab", "fable-relu", "--claim", "F3", "--tokens", 400, "--json")
    assert code == 0 and [one["key"] for one in json.loads(out)["lab"]["results"]] == ["F3"] and "F3" in err
    code, out, _ = said("lab", "fable-relu", "--claim", "F3", "--tokens", 400, "--csv")
    assert code == 0 and out.splitlines()[0] == "claim,verdict,number,value,low,high,threshold,unit,baseline,means"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--claim", "Z1"), "no claim 'Z1'"),
        (("--tokens", 2), "--tokens is 2; the minimum is 3"),
        (("--text", "no-such-file"), "cannot be read"),
    ],
)
def test_misuse_is_one_message(options: tuple[object, ...], message: str, said: Said) -> None:
    code, out, err = said("lab", "fable-relu", *options)
    assert code == 2 and message in err and "Traceback" not in err and not out
