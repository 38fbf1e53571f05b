"""The command line: text streams, scripts get JSON, and every refusal is one message with its exit code."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from signal import SIGINT, default_int_handler, signal
from threading import enumerate as enumerate_threads
from typing import Any

import click
import pytest

import edge
from edge.cli import cli
from edge.commands.trace import parsed_layers
from edge.engines.torch_engine import TorchEngine
from models.errors import MisuseError
from tests.edge.conftest import Said

ROOT = Path(__file__).parents[2]


def started(*arguments: object) -> subprocess.Popen[str]:
    """Runs a command line in its own process."""
    command = [sys.executable, "-m", "edge", *(str(argument) for argument in arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf8"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf8", env=environment
    )


def test_streamed_text_is_the_text_of_the_run(byte_llama: Path, said: Said) -> None:
    code, out, err = said("run", byte_llama, "Once", "-e", "torch", "-n", 12)
    with edge.load(byte_llama, engine="torch") as model:
        want = model.run("Once", max_new_tokens=12).text
    assert code == 0, err
    assert out.removesuffix("\n").encode("utf8", "replace") == want.encode("utf8", "replace"), "text was lost or added"
    assert "12 tokens after 4" in err, "the summary belongs on stderr"


def test_json_is_one_object_for_scripts(byte_llama: Path, said: Said) -> None:
    code, out, err = said("run", byte_llama, "--ids", "1,5,2", "-e", "torch", "-n", 4, "--json")
    record = json.loads(out)
    assert code == 0, err
    assert list(record)[:5] == ["engine", "prompt_tokens", "tokens", "text", "logprobs"]
    assert record["engine"] == "torch" and record["prompt_tokens"] == [1, 5, 2]
    assert len(record["tokens"]) == len(record["logprobs"]) == 4
    assert set(record["timing"]) == {
        "tokenize_ms",
        "prefill_ms",
        "ttft_ms",
        "inter_token_ms",
        "tokens_per_second",
    }
    assert len(record["timing"]["inter_token_ms"]) == 3, "four tokens have three intervals"


def test_keys_of_a_config_that_change_nothing_are_reported_on_stderr(
    byte_llama: Path, tmp_path: Path, said: Said
) -> None:
    shutil.copytree(byte_llama, tmp_path / "model")
    file = tmp_path / "model" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"sliding_window": 8, "use_cache": False}))
    code, out, err = said("run", tmp_path / "model", "Once", "-e", "torch", "-n", 2)
    assert code == 0 and "sliding_window" not in out
    assert "does not use; they have no effect: 'sliding_window'\n" in err


def test_greedy_is_the_default_and_seeds_repeat(byte_llama: Path, said: Said) -> None:
    def text(*options: object) -> str:
        code, out, err = said("run", byte_llama, "The", "-e", "torch", "-n", 16, *options)
        assert code == 0, err
        return out

    assert text() == text("--greedy")
    drawn = text("--temperature", 1.5, "--top-k", 50, "--top-p", 0.9, "--seed", 3)
    assert drawn == text("--temperature", 1.5, "--top-k", 50, "--top-p", 0.9, "--seed", 3), "equal seeds differ"
    assert drawn != text(), "a temperature of 1.5 changed nothing"
    assert text("--min-p", 1.0, "--seed", 3) == text(), "only the most probable token is as probable as itself"
    assert text("--repetition-penalty", 1.5) != text(), "a penalty changed nothing in greedy decoding"


def test_sublayers_are_timed_on_request(byte_llama: Path, said: Said) -> None:
    code, out, _ = said("run", byte_llama, "The", "-e", "torch", "-n", 2, "--time", "--json")
    timed = json.loads(out)["sublayers"]
    assert code == 0
    assert {"layers.0.attn", "layers.1.ffn", "embed", "head"} <= timed["measured_ms"].keys() == timed["shares"].keys()
    rest = timed["total_ms"] - sum(timed["scaled_ms"].values())
    assert (timed["gap_ms"] or 0.0) == pytest.approx(rest, abs=1e-9), "parts and gap do not sum to the total"
    assert (timed["gap_ms"] is None) == (timed["coverage"] > 1), "a gap is told where parts sum to more than the pass"
    assert timed["shares_of"] == ("the pass with timers" if timed["coverage"] > 1.15 else "the pass")
    code, out, _ = said("run", byte_llama, "The", "-e", "torch", "-n", 2, "--time")
    assert "attention ms" in out and "Σ of timed parts / uninstrumented pass" in out


def test_a_trace_says_its_cost_first_and_opens_again(byte_llama: Path, tmp_path: Path, said: Said) -> None:
    file = tmp_path / "once.trace"
    code, out, err = said("trace", byte_llama, "Once", "-e", "torch", "-n", 3, "-o", file, "--json")
    rows = json.loads(out)
    assert code == 0, err
    # 6 tokens: query, two keys and values, heads, output, neurons, output, output; the input of layer 0; 4 bytes each
    assert err.splitlines()[0] == "recording 18 sites, at most 6 tokens: 14.2 kB"
    assert [row["layer"] for row in rows] == ["0", "1"]
    assert all(row["entropy_bits"] > 0 and 0 < row["first_token_share"] < 1 for row in rows)
    seen = edge.open_trace(file)
    assert seen.n_fed == 6 and seen.pattern(1, 3).shape == (6, 6)


def test_a_trace_watches_what_was_requested(byte_llama: Path, tmp_path: Path, said: Said) -> None:
    file = tmp_path / "few.trace"
    options = ("--part", "ffn.neurons", "--layers", "1", "--half", "--logits")
    code, out, err = said("trace", byte_llama, "Once", "-e", "torch", "-n", 2, "-o", file, "--md", *options)
    assert code == 0, err
    assert set(edge.open_trace(file).sites) == {"layers.1.ffn.neurons", "logits"}
    assert out.splitlines()[2].startswith("| 0 | - | - | - | - |"), "what was not recorded shows as a dash"


def test_layers_are_parsed() -> None:
    assert parsed_layers("0,2-4,3") == (0, 2, 3, 4)
    assert parsed_layers(None) is None
    with pytest.raises(MisuseError, match="such as 0,2-4"):
        parsed_layers("0;2")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "{model}", "hi", "-e", "onx"], 2, "did you mean 'onnx'"),
        (["run", "{model}", ""], 2, "the prompt is empty"),
        (["run", "{model}"], 2, "no prompt; try: edge run"),
        (["run", "{model}", "hi", "--ids", "1"], 2, "not both"),
        (["run", "{model}", "--ids", "1,x"], 2, "comma-separated integers"),
        (["run", "{model}", "--ids", "1,999"], 2, "outside the vocabulary"),
        (["run", "{model}", "--ids", "-1"], 2, "outside the vocabulary"),
        (["run", "{model}", "a" * 65], 2, "context of this model is 64"),
        (["run", "{model}", "hi", "-n", "-1"], 2, "0 or more"),
        (["run", "{model}", "hi", "--threads", "0"], 2, "between 1 and"),
        (["run", "{model}", "hi", "--threads", "100000"], 2, "between 1 and 1,024"),
        (["run", "{model}", "hi", "--greedy", "--top-k", "3"], 2, "cannot be combined"),
        (["run", "{model}", "hi", "--greedy", "--min-p", "0.1"], 2, "cannot be combined"),
        (["run", "{model}", "hi", "--min-p", "2"], 2, "from 0 to 1"),
        (["run", "{model}", "hi", "--repetition-penalty", "0"], 2, "must be above 0"),
        (["run", "{model}", "hi", "--seed", "-1"], 2, "-1 is not in the range"),
        (["run", "{model}", "hi", "--temperature", "nan"], 2, "must be 0"),
        (["run", "{model}", "hi", "--top-p", "nan"], 2, "must be above 0"),
        (["run", "{model}", "a\udcff"], 2, "PROMPT is not valid UTF-8 at character 1"),
        (["run", "{model}", "hi", "--chat", "--system", "\udcff"], 2, "--system is not valid UTF-8"),
        (
            ["run", "{model}", "-5 is"],
            2,
            "put a PROMPT that begins with '-' after '--', as in edge run MODEL -- '-5 is'",
        ),
        (["run", "{model}", "hi", "--temperature", "-1"], 2, "must be 0"),
        (["run", "no/such/model", "hi"], 2, "no folder 'no/such/model'"),
        (["run", "{empty}", "hi"], 1, "config.json"),
        (["run"], 2, "Missing argument 'MODEL'"),
        (["rnu"], 2, "Did you mean 'run'"),
        (["trace", "{model}", "hi", "-o", "no/such/folder/file"], 2, "does not exist; create it"),
        (["trace", "{model}", "hi", "-o", "{empty}"], 2, "is a folder"),
        (["trace", "{model}", "hi", "-o", "{empty}/t", "--part", "attn.patern"], 2, "no site part 'attn.patern'"),
        (["trace", "{model}", "hi", "-o", "{empty}/t", "--layers", "7"], 2, "layers 0 to 1"),
        (["trace", "{model}", "hi", "-o", "{empty}/t", "--layers", "0-9999999999"], 2, "no decoder has that many"),
        (["trace", "{model}", "hi", "-o", "{empty}/t", "--layers", "9" * 5000], 2, "such as 0,2-4"),
        (["look", "no/such/model"], 2, "no folder 'no/such/model'"),
        (["models", "show", "no/such/model"], 2, "no folder 'no/such/model'"),
    ],
)
def test_every_refusal_is_one_message(
    arguments: list[str], code: int, message: str, byte_llama: Path, tmp_path: Path, said: Said
) -> None:
    filled = [argument.format(model=byte_llama, empty=tmp_path) for argument in arguments]
    if "-e" not in filled and filled[0] in ("run", "trace"):
        filled += ["-e", "torch"]
    got, out, err = said(*filled)
    reported = [line for line in err.splitlines() if line.startswith("edge: ")]
    assert got == code, f"edge {' '.join(filled)} ended with {got}: {err}"
    assert len(reported) == 1 and message in reported[0], f"edge {' '.join(filled)} says {err!r}"
    assert "Traceback" not in err and not out
    assert not list(tmp_path.iterdir()), "a refused command left something behind"


def test_a_file_that_cannot_be_written_is_one_message(
    byte_llama: Path, tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "t"))

    monkeypatch.setattr("os.replace", full)
    code, _, err = said("trace", byte_llama, "hi", "-e", "torch", "-n", 1, "-o", tmp_path / "t")
    assert code == 1 and "No space left on device" in err and "Traceback" not in err
    assert not list(tmp_path.iterdir()), "a failed write left a file"


def test_no_command_shows_help_and_is_misuse(said: Said) -> None:
    code, out, err = said()
    assert code == 2 and not out and "Commands:" in err


@pytest.mark.parametrize(
    "name", [(), *((name,) for name in cli.commands), ("models", "show"), ("models", "pull")], ids=" ".join
)
def test_every_command_has_help_with_an_example(name: tuple[str, ...], said: Said) -> None:
    code, out, _ = said(*name, "--help")
    assert code == 0 and f"edge {' '.join(name)}".rstrip() in out.partition("Example")[2], f"{name} shows no example"


def test_options_say_what_they_do() -> None:
    for name, command in cli.commands.items():
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.help, f"edge {name} {option.opts[0]} has no help"


def test_models_are_listed_and_shown(byte_llama: Path, said: Said) -> None:
    code, out, _ = said("models", "--json")
    assert code == 0 and isinstance(json.loads(out), list)
    code, out, _ = said("models", "show", byte_llama, "--csv")
    facts = dict(line.split(",", 1) for line in out.splitlines())
    assert code == 0 and facts["layers"] == "2" and facts["d_ff"] == "88"


def test_an_interrupt_ends_with_130_and_closes_the_engine(
    byte_llama: Path, tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed = TorchEngine.feed

    def interrupted(*arguments: Any) -> Any:
        os.kill(os.getpid(), SIGINT)
        return feed(*arguments)

    monkeypatch.setattr(TorchEngine, "feed", interrupted)
    before = signal(SIGINT, default_int_handler)  # a shell may have set its children to ignore interrupts
    try:
        code, _, err = said("trace", byte_llama, "x", "-e", "torch", "-n", 60, "-o", tmp_path / "t")
    finally:
        signal(SIGINT, before)
    assert code == 130 and err.splitlines()[-1] == "edge: interrupted" and "Traceback" not in err, err
    assert not list(tmp_path.iterdir()), "an interrupted trace left a file"
    assert not [thread for thread in enumerate_threads() if thread.name.startswith("engine")], "the engine still runs"


def test_an_interrupt_while_an_engine_is_built_leaves_at_once() -> None:
    hang = (
        "import os, signal, threading, edge.session as session\n"
        "def load(*_, **__):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    threading.Event().wait()\n"
        "session.load = load\n"
        "from edge.__main__ import main; main()"
    )
    command = [sys.executable, "-c", hang, "run", "any", "prompt"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "edge: interrupted\n")


def test_an_export_says_how_equal_it_is(byte_llama: Path, tmp_path: Path, said: Said) -> None:
    code, out, err = said("export", byte_llama, tmp_path / "onnx", "--json")
    rows = json.loads(out)
    assert code == 0, err
    assert {row["compared"] for row in rows} == {"std"}
    assert all(row["max_logit_difference"] < 1e-4 and row["top1_agreement"] == 1 for row in rows), rows
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("kept")
    code, out, err = said("export", byte_llama, tmp_path / "mine")
    assert code == 2 and "was not written by Edge" in err and not out
    assert (tmp_path / "mine" / "file").read_text() == "kept"


def test_without_torch_only_the_torch_engine_and_a_fresh_export_are_refused(byte_llama: Path, tmp_path: Path) -> None:
    blocked = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'onnx_ir', 'onnxscript', 'mlx', 'mlx.core'): sys.modules[name] = None\n"
        "from edge.cli import exit_code\n"
        "model, out = sys.argv[1:]\n"
        "for words in (['models'], ['models', 'show', model], ['doctor'], ['run', 'fable-relu', 'Once', '-n', '3'],\n"
        "              ['run', model, 'x', '-e', 'torch'], ['run', model, 'x', '-e', 'mlx'], ['export', model, out]):\n"
        "    print('code', words[0], exit_code(words))\n"
    )
    command = [sys.executable, "-c", blocked, str(byte_llama), str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    codes = " ".join(re.findall(r"code (\w+ \d+)", done.stdout))
    wanted = "models 0 models 0 doctor 0 run 0 run 1 run 1 export 1"
    assert codes == wanted, done.stdout + done.stderr
    for extra in ("torch", "mlx", "export"):
        assert f"pip install 'edge-lens[{extra}]'" in done.stderr, f"nothing says how to get {extra}: {done.stderr}"


def test_a_reader_may_leave_early(byte_llama: Path) -> None:
    process = started("run", byte_llama, "x", "-e", "torch", "-n", 60)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 0, err
    assert not err, f"a reader that left is no reason to complain: {err}"


def test_a_prompt_comes_from_stdin_or_after_two_dashes(
    byte_llama: Path, tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(command: str, *words: str, stdin: bytes = b"") -> list[int]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        out = ["-o", tmp_path / "t"] if command == "trace" else ["--json"]
        code, reported, err = said(command, byte_llama, "-e", "torch", "-n", 1, *out, *words)
        assert code == 0, err
        seen = edge.open_trace(tmp_path / "t") if command == "trace" else None
        return list(seen.tokens[: seen.prompt_length]) if seen else json.loads(reported)["prompt_tokens"]

    for command in ("run", "trace"):
        assert asked(command, "-", stdin="né\nx\r\n".encode()) == list("né\nx".encode()), "a newline ends the last line"
        assert asked(command, "--", "-5 is") == list(b"-5 is")


@pytest.mark.parametrize(
    ("stdin", "reported"),
    [(b"", "but stdin is empty"), (b"\n", "but stdin is empty"), (b"ab\xff", "not valid UTF-8 at byte 2")],
)
def test_stdin_without_text_is_a_message(
    stdin: bytes, reported: str, byte_llama: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
    code, out, err = said("run", byte_llama, "-", "-e", "torch")
    assert code == 2 and not out and reported in err
    monkeypatch.setattr("sys.stdin", None)
    assert "but stdin is closed" in said("run", byte_llama, "-", "-e", "torch")[2]


WRONG_VALUES = """
import sys, edge
wrong = [
    {"seed": -1}, {"seed": 1.5}, {"seed": True}, {"max_new_tokens": 2.0}, {"max_new_tokens": -1},
    {"max_new_tokens": None},
    {"ids": [1.0]}, {"ids": ["a"]}, {"ids": [None]}, {"ids": [True]}, {"ids": []}, {"ids": None},
]
with edge.load(sys.argv[1], engine="torch") as model:
    for one in wrong:
        try:
            model.run(**({"ids": [1, 2]} | one))
            print("passed", one)
        except edge.MisuseError as refused:
            assert refused.args, one
"""


def test_wrong_values_in_python_are_misuse(byte_llama: Path) -> None:
    """In its own process, in which nothing checks types before Edge does."""
    command = [sys.executable, "-c", WRONG_VALUES, str(byte_llama)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
