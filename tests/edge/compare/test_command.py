"""`edge compare` end to end: a planted fault through processes, tables for people, and every refusal in one message."""

import csv
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from edge.commands.compare import sections
from edge.commands.compare_tables import variant_table
from edge.compare.predictions import NEAR_TIE_NATS
from edge.compare.result import Comparison, from_json, to_json
from edge.compare.tolerances import TOLERANCES
from edge.profile.rounds import Round
from models.zoo import zoo_folder
from tests.edge.compare.in_process import DEEP, checkpoint_of, compared
from tests.edge.conftest import Said
from tests.test_architecture import loaded_by


@pytest.fixture(scope="module")
def found() -> Comparison:
    broken = checkpoint_of(DEEP, "layers.3.ffn.down.weight", by=3.0)
    return compared([(checkpoint_of(DEEP), "torch"), (checkpoint_of(DEEP), "torch"), (broken, "mlx")])


def test_a_fault_in_the_copy_of_one_engine_is_named(tmp_path: Path, said: Said) -> None:
    """One weight of layer 3's FFN is off in the copy that ONNX gets; the healthy model in torch is the reference."""
    healthy = zoo_folder("fable-relu")
    assert healthy is not None
    copy = Path(shutil.copytree(healthy, tmp_path / "faulty"))
    weights = load_file(copy / "model.safetensors")
    weights["gpt_neox.layers.3.mlp.dense_h_to_4h.weight"][5, 7] += np.float16(2)
    save_file(weights, copy / "model.safetensors", {"format": "pt"})
    code, out, err = said(
        "compare", "fable-relu", copy, "-e", "torch", "-e", "onnx", "--tokens", 48, "--rounds", 1, "--json"
    )
    assert code == 0, err
    record = json.loads(out)
    assert to_json(from_json(record)) == record
    assert [record["reference"]["name"], *(one["name"] for one in record["variants"])] == [
        "fable-relu torch",
        "fable-relu onnx",
        "faulty torch",
        "faulty onnx",
    ]
    sound, in_torch, in_onnx = record["variants"]
    assert sound["first_divergent_site"] is None and sound["predictions"]["top1_agreement"] == 1
    for one in (in_torch, in_onnx):
        at = one["first_divergent_site"]
        assert at["site"].startswith("layers.3.ffn.") and at["layer"] == 3, f"{one['name']} leaves at {at}"
    assert all(one["memory"]["process_peak_bytes"] > one["memory"]["weights_bytes"] for one in record["variants"])
    assert "timing 1 rounds" in err and "faulty on onnx" in err, "nothing says what takes so long"


def test_people_get_tables(byte_llama: Path, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, err = said("compare", byte_llama, "-e", "mlx", "-e", "mlx", "--rounds", 1, "--tokens", 80)
    assert code == 0, err
    assert out.startswith("Compared with mlx on 80 tokens of text (built in); sites on the first 64.")
    assert max(map(len, out.splitlines()[2:])) <= 80, "a table is wider than the terminal"
    assert "top-1 agreement" in out and "all " in out


def test_what_is_printed_is_what_was_found(found: Comparison) -> None:
    narrow, wide = (sections(found, "text", columns) for columns in (80, 200))
    assert narrow[:4] == wide[:4] and len(wide[5].splitlines()) < len(narrow[5].splitlines())
    broken = found.variants[1]
    assert (
        broken.first_divergent_site is not None
        and broken.first_divergent_site.token == 5
        and broken.first_divergent_token is not None
    )
    assert narrow[2].splitlines()[-1].split()[1:4] == ["layers.3.ffn.output", "5", "'<5>'"], narrow[2]
    assert f"mlx      {broken.first_divergent_token.position} " in narrow[3] and "all " in narrow[3]
    starred = [line for line in narrow[5].splitlines() if "*" in line][1:]
    assert [line.split()[0] for line in starred] == ["3", "4"] and starred[0].count("*") == 2, narrow[5]
    assert "*" not in narrow[4].partition("\n")[2], "a variant equal to the reference is starred"
    assert "| layers.3.ffn.output |" in sections(found, "md", 80)[2]


def test_timings_with_a_large_spread_are_called_unreliable(found: Comparison) -> None:
    def shown(*medians: float) -> str:
        rounds = tuple(Round(1.0, (one,), None) for one in medians)
        reference = replace(found.reference, name="first", speed=replace(found.reference.speed, rounds=rounds))
        calm = [replace(one, speed=replace(one.speed, rounds=one.speed.rounds[:1])) for one in found.variants]
        return sections(replace(found, reference=reference, variants=tuple(calm)), "text", 80)[0]

    assert "Unreliable timing" not in shown(1.0, 1.1, 1.0)
    assert shown(1.0, 1.4, 1.0).splitlines()[-1].endswith("20%: first")


def test_spreadsheets_get_a_row_a_variant(found: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(variant_table(found).csv())))
    assert [row["engine"] for row in rows] == ["torch", "torch", "mlx"]
    assert rows[0]["kl_mean_nats"] == "" and float(rows[1]["kl_mean_nats"]) == 0
    assert float(rows[2]["kl_mean_nats"]) == found.variants[1].predictions.kl_mean_nats
    assert rows[2]["first_divergent_site"] == "layers.3.ffn.output"


def test_a_site_that_overflowed_is_printed(found: Comparison) -> None:
    record = to_json(found)
    record["variants"][1]["sites"]["layers.4.output"] = None
    shown = "\n".join(sections(from_json(record), "text", 80))
    assert "nan*" in shown, "what is no number must stand out"


def test_the_process_that_compares_loads_no_runtime() -> None:
    runtimes = {"torch", "mlx", "onnx", "onnxruntime"}
    assert not loaded_by("import edge.compare.measure, edge.commands.compare_tables") & runtimes
    assert "numpy" not in loaded_by("from edge.cli import exit_code; exit_code(['compare', '--help'])")


def test_help_states_its_thresholds(said: Said) -> None:
    code, out, _ = said("compare", "--help")
    words = " ".join(out.split())
    assert code == 0 and f"leads by less than {NEAR_TIE_NATS} nats" in words
    for kind, tolerance in TOLERANCES.items():
        shown = f"{kind} {tolerance:.0e}".replace("e-0", "e-")
        assert shown in words, f"the help does not say that the tolerance is {shown}"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{model}"], 2, "is one variant, and a comparison needs two; add -e ENGINE or another MODEL"),
        (["{model}", "-e", "torch"], 2, "is one variant"),
        ([], 2, "Missing argument 'MODEL...'"),
        (["{model}", "-e", "torch", "-e", "onx"], 2, "did you mean 'onnx'"),
        (["{model}", "-e", "torch", "-e", "torch:int9"], 2, "no precision 'int9'"),
        (["no/such/model", "-e", "torch", "-e", "onnx"], 2, "no folder 'no/such/model'"),
        (["{model}", "{empty}"], 1, "config.json"),
        (["{model}", "fable-relu"], 2, "have vocabularies of 257 and 4096 tokens"),
        (["{model}", "-e", "torch", "-e", "onnx", "--text", "no/such/text"], 2, "cannot be read: No such file"),
        (["{model}", "-e", "torch", "-e", "onnx", "--text", "{empty}"], 2, "cannot be read: Is a directory"),
        (["{model}", "-e", "torch", "-e", "onnx", "--text", "{empty}/none.txt"], 2, "is empty"),
        (["{model}", "-e", "torch", "-e", "onnx", "--text", "{empty}/short.txt"], 2, "has 2 tokens"),
        (["{model}", "-e", "torch", "-e", "onnx", "--text", "{model}/model.safetensors"], 2, "not valid UTF-8"),
        (
            ["{model}", "-e", "torch", "-e", "onnx", "--text", "{empty}/short.txt", "--ids", "1,2,3"],
            2,
            "cannot be combined",
        ),
        (["{model}", "-e", "torch", "-e", "onnx", "--ids", "1,2"], 2, "has 2 tokens"),
        (["{model}", "-e", "torch", "-e", "onnx", "--ids", "1,2,x"], 2, "comma-separated integers"),
        (["{model}", "-e", "torch", "-e", "onnx", "--ids", "1,2,257"], 2, "outside the vocabulary"),
        (["{wordless}", "-e", "torch", "-e", "onnx"], 2, "no tokenizer.json, so it cannot be compared on a text"),
        (["{model}", "-e", "torch", "-e", "onnx", "--tokens", "2"], 2, "--tokens is 2"),
        (["{model}", "-e", "torch", "-e", "onnx", "--rounds", "0"], 2, "--rounds is 0"),
        (["{model}", "-e", "torch", "-e", "onnx", "--tolerance", "0"], 2, "give a number above 0"),
        (["{model}", "-e", "torch", "-e", "onnx", "--tolerance", "nan"], 2, "give a number above 0"),
        (["{model}", "-e", "torch", "-e", "onnx", "--threads", "0"], 2, "between 1 and"),
    ],
)
def test_every_refusal_is_one_message(
    arguments: list[str], code: int, message: str, byte_llama: Path, tmp_path: Path, said: Said
) -> None:
    (tmp_path / "none.txt").write_text("  \n")
    (tmp_path / "short.txt").write_text("ab")
    wordless = Path(shutil.copytree(byte_llama, tmp_path / "wordless", ignore=shutil.ignore_patterns("tokenizer*")))
    filled = [one.format(model=byte_llama, empty=tmp_path, wordless=wordless) for one in arguments]
    got, out, err = said("compare", *filled)
    reported = [line for line in err.splitlines() if line.startswith("edge: ")]
    assert got == code, err
    assert len(reported) == 1 and message in reported[0], f"{reported} does not say '{message}'"
    assert not out and "Traceback" not in err


def test_equal_sizes_are_no_equal_vocabulary(byte_llama: Path, tmp_path: Path, said: Said) -> None:
    other = Path(shutil.copytree(byte_llama, tmp_path / "other"))
    tokenizer = (other / "tokenizer.json").read_text(encoding="utf8")
    (other / "tokenizer.json").write_text(tokenizer.replace("<|endoftext|>", "<|end|>"), encoding="utf8")
    code, _, err = said("compare", byte_llama, other, "-e", "torch")
    assert code == 2 and "whose tokens differ" in err


def test_an_engine_that_cannot_open_is_one_message(said: Said) -> None:
    code, out, err = said("compare", "fable-relu", "-e", "onnx+cuda", "-e", "torch")
    reported = [line for line in err.splitlines() if line.startswith("edge: ")]
    assert code == 2 and len(reported) == 1 and "not cuda" in reported[0] and not out, err
