"""A saved trace opens again as it was, or says why it does not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from edge.session import Model
from edge.store import read_store, write_store
from edge.trace import Trace, open_trace
from edge.watch import Watch
from models.errors import EdgeError, MisuseError
from models.spec_json import spec_from_json, spec_to_json
from tests.tiny import TINY_SPECS, tiny_checkpoint


@pytest.fixture(scope="module")
def trace() -> Trace:
    with Model(tiny_checkpoint("layers-that-differ"), "torch", None, lambda _: None) as model:
        return model.run(ids=[1, 2, 3, 4], max_new_tokens=5, watch=Watch.all(), stop_tokens=())


@pytest.mark.parametrize("name", TINY_SPECS)
def test_a_spec_survives_json(name: str) -> None:
    assert spec_from_json(spec_to_json(TINY_SPECS[name])) == TINY_SPECS[name]


def test_a_trace_opens_as_it_was_saved(trace: Trace, tmp_path: Path) -> None:
    opened = open_trace(trace.save(tmp_path / "run.trace"))
    for name in trace.sites:
        assert np.array_equal(opened.site(name), trace.site(name)), f"{name} changed on disk"
    for name in ("spec", "tokens", "pieces", "text", "logprobs", "finish", "watch", "timing", "versions", "n_fed"):
        assert getattr(opened, name) == getattr(trace, name), f"{name} changed on disk"
    assert np.array_equal(opened.pattern(1, 2), trace.pattern(1, 2))


def test_a_trace_opens_without_any_engine(trace: Trace, tmp_path: Path) -> None:
    path = trace.save(tmp_path / "run.trace")
    program = (
        "import sys, edge; t = edge.open_trace(sys.argv[1]); t.pattern(0, 0); "
        "print([m for m in ('torch', 'mlx', 'onnx', 'onnxruntime', 'textual') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", f"opening a trace loaded {done.stdout}"


@pytest.mark.parametrize("notes", [["record", "format"], "record format", 3, None, {"record": "{}"}])
def test_notes_that_no_trace_has_are_reported(tmp_path: Path, notes: object) -> None:
    text = json.dumps({"__metadata__": notes}).encode()
    (tmp_path / "a.trace").write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(EdgeError, match="is not a trace that Edge wrote"):
        open_trace(tmp_path / "a.trace")


@pytest.mark.parametrize(
    ("field", "value"),
    [("tokens", ["1"]), ("timing", []), ("logprobs", []), ("n_fed", 99), ("prompt_length", -1), ("finish", "nonsense")],
)
def test_a_record_of_other_values_is_damaged(trace: Trace, tmp_path: Path, field: str, value: object) -> None:
    path = trace.save(tmp_path / "run.trace")
    record, places = read_store(path)
    write_store(path, record | {field: value}, {name: np.array(place.read()) for name, place in places.items()})
    with pytest.raises(EdgeError, match="is damaged"):
        open_trace(path)


def test_a_run_that_did_not_watch_says_so(trace: Trace) -> None:
    with Model(tiny_checkpoint("layers-that-differ"), "torch", None, lambda _: None) as model:
        blind = model.run(ids=[1, 2], max_new_tokens=1)
    with pytest.raises(MisuseError, match="was not recorded"):
        blind.pattern(0, 0)
    with pytest.raises(MisuseError, match=r"no site 'layers\.9"):
        trace.site("layers.9.attn.query")
    with pytest.raises(MisuseError, match="heads 0 to 3"):
        trace.pattern(0, 4)


def test_what_is_no_trace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("Once upon a time")
    (tmp_path / "empty").touch()
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "weights", {"format": "pt"})
    for name in ("text", "empty", "weights"):
        with pytest.raises(EdgeError, match="is not a trace that Edge wrote"):
            open_trace(tmp_path / name)
    with pytest.raises(EdgeError, match="there is no trace"):
        open_trace(tmp_path / "nothing")


@pytest.mark.parametrize("lost", ["spec", "watch", "tokens"])
def test_a_trace_that_lost_a_part_is_called_damaged(trace: Trace, tmp_path: Path, lost: str) -> None:
    record, _ = read_store(trace.save(tmp_path / "run.trace"))
    del record[lost]
    write_store(tmp_path / "run.trace", record, trace.sites)
    with pytest.raises(EdgeError, match="is damaged"):
        open_trace(tmp_path / "run.trace")


def test_a_truncated_trace_is_called_truncated(trace: Trace, tmp_path: Path) -> None:
    path = trace.save(tmp_path / "run.trace")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(EdgeError, match="truncated"):
        open_trace(path)


def test_a_trace_of_another_format_is_refused(trace: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.store.FORMAT", "0")
    path = trace.save(tmp_path / "run.trace")
    monkeypatch.undo()
    with pytest.raises(EdgeError, match="format 0, this Edge reads format 4"):
        open_trace(path)


def test_a_failed_save_leaves_no_file(trace: Trace, tmp_path: Path) -> None:
    with pytest.raises(EdgeError, match="cannot be written"):
        trace.save(tmp_path / "no such folder" / "run.trace")
    (tmp_path / "taken").mkdir()
    with pytest.raises(EdgeError, match="cannot be written"):
        trace.save(tmp_path / "taken")
    assert os.listdir(tmp_path) == ["taken"]
