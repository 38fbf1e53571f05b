"""`edge export`: a folder that is the same model, for tools that know nothing of Edge."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

from edge.session import load
from export import targets
from export.check import TOLERANCE, check_graph, check_parity
from export.layout import DENSE
from export.logit_difference import QUANTIZATION, LogitDifference, divergence
from export.manifest import file_sha256, package_versions, read_manifest
from export.onnx_runtime import ort
from export.quantizing import prepare_quantized
from export.standalone import export_checkpoint, peak_bytes
from export.targets import TARGETS
from models.checkpoint import open_checkpoint
from models.errors import EdgeError, MisuseError
from models.kernels import FullPass
from models.loading import load_decoder
from models.parameters import parameter_shapes
from models.precision import Grouped, Scheme, Zero, precision_of
from models.spec import DecoderSpec
from tests.export.built import built
from tests.folders import write_byte_llama
from tests.tiny import TINY_SPECS, tiny_checkpoint

KINDS = ("llama-one-kv-head-odd-sizes", "gpt2-learned-positions-tied", "neox-full-rotary-relu", "layers-that-differ")
"""Each kernel, each norm, rotary and learned positions, full and sliding windows."""


@pytest.fixture(scope="module", params=KINDS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """One of `TINY_SPECS` and its export, from graphs that this test run has traced before."""
    out = tmp_path_factory.mktemp("exports") / request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "export.graphs.builds", lambda _, graphs, __: (ir.from_proto(built(request.param, name)) for name in graphs)
        )
        return request.param, export_checkpoint(tiny_checkpoint(request.param), out, lambda _: None)


def run(folder: Path, spec: DecoderSpec, ids: np.ndarray, mask: np.ndarray, past: list[np.ndarray]) -> list[np.ndarray]:
    session = ort.InferenceSession(str(folder / "std.onnx"), providers=["CPUExecutionProvider"])
    names = [f"past_key_values.{layer}.{part}" for layer in range(spec.n_layers) for part in ("key", "value")]
    positions = np.maximum(mask.cumsum(axis=1) - 1, 0)[:, -ids.shape[1] :]
    feeds = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    return list(session.run(None, feeds | dict(zip(names, past, strict=True))))


def empty_past(spec: DecoderSpec, batch: int) -> list[np.ndarray]:
    return [np.zeros((batch, one.n_kv_heads, 0, one.head_dim), np.float32) for one in spec.attentions for _ in range(2)]


def torch_logits(name: str, ids: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        decoder = load_decoder(tiny_checkpoint(name))
        logits: np.ndarray = decoder(torch.from_numpy(ids), torch.arange(len(ids)), FullPass(len(ids))).numpy()
    return logits


def test_the_portable_graph_is_valid_and_its_parity_was_measured(exported: tuple[str, Path]) -> None:
    _, folder = exported
    check_graph(folder / "std.onnx")
    manifest = read_manifest(folder)
    assert manifest is not None and set(manifest.parity) == {"std"}
    for graph, parity in manifest.parity.items():
        assert parity.max_logit_difference < 5e-5, f"{graph} is off by {parity.max_logit_difference:.2g}"
        assert parity.top1_agreement == 1 and parity.positions >= 6
    assert manifest.versions == package_versions()
    written = {file.name: file_sha256(file) for file in folder.iterdir() if file.name != "manifest.json"}
    assert manifest.sha256 == written, "the manifest's hashes are not those of the files"


def test_padding_on_the_left_changes_nothing(exported: tuple[str, Path]) -> None:
    name, folder = exported
    spec = TINY_SPECS[name]
    ids = np.array([[0, 0, 0, 9, 4, 7], [8, 1, 2, 3, 5, 6]])
    mask = np.array([[0, 0, 0, 1, 1, 1], [1, 1, 1, 1, 1, 1]])
    logits, *past = run(folder, spec, ids, mask, empty_past(spec, 2))
    assert np.isfinite(logits).all(), "padding turned to NaN"
    np.testing.assert_allclose(logits[0, 3:], torch_logits(name, ids[0, 3:]), atol=1e-4)
    np.testing.assert_allclose(logits[1], torch_logits(name, ids[1]), atol=1e-4)
    after, *_ = run(folder, spec, np.array([[2], [2]]), np.pad(mask, ((0, 0), (0, 1)), constant_values=1), past)
    np.testing.assert_allclose(after[0, 0], torch_logits(name, np.array([9, 4, 7, 2]))[-1], atol=1e-4)


def test_a_real_folder_takes_its_tokenizer_along_and_is_replaced_whole(byte_llama: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_checkpoint(open_checkpoint(byte_llama), out, lambda _: None)
    (out / "stale").touch()
    assert (out / "tokenizer.json").read_bytes() == (byte_llama / "tokenizer.json").read_bytes()
    export_checkpoint(open_checkpoint(byte_llama), out, lambda _: None)
    assert not (out / "stale").exists(), "a file of the replaced bundle is left"
    assert [file.name for file in tmp_path.iterdir()] == ["out"], "the export left something beside its folder"


def test_only_a_bundle_is_written_over(byte_llama: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(MisuseError, match="not written by Edge"):
        export_checkpoint(open_checkpoint(byte_llama), tmp_path, lambda _: None)
    with pytest.raises(MisuseError, match="is a file"):
        export_checkpoint(open_checkpoint(byte_llama), tmp_path / "thesis.tex", lambda _: None)
    with pytest.raises(MisuseError, match="contains the checkpoint"):
        export_checkpoint(open_checkpoint(byte_llama), byte_llama, lambda _: None)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_full_disk_leaves_nothing(byte_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(targets, "write_weights", fill)
    with pytest.raises(EdgeError, match=r"No space left on device; free some space"):
        export_checkpoint(open_checkpoint(byte_llama), tmp_path / "out", lambda _: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("difference", [2 * TOLERANCE, float("nan")])
def test_another_model_is_no_export(difference: float) -> None:
    with pytest.raises(EdgeError, match="differs from torch"):
        check_parity(
            {"fast": LogitDifference(difference, mean_kl_nats=0.0, p99_kl_nats=0.0, top1_agreement=1.0, positions=3)}
        )


def test_interrupting_leaves_nothing(byte_llama: Path, tmp_path: Path) -> None:
    def interrupt(message: str) -> None:
        if message.startswith("exporting graph"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_checkpoint(open_checkpoint(byte_llama), tmp_path / "out", interrupt)
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_can_be_read_by_anyone(exported: tuple[str, Path]) -> None:
    _, folder = exported
    table = json.loads((folder / "manifest.json").read_text())
    assert (
        table["opset"] == 23
        and table["oldest_onnxruntime"] == "1.23"
        and table["precision"] == "float32"
        and table["weights"] == "std.onnx.data"
    )
    assert table["kernels"] == {"std": "Portable"} and "layers.0.attn.query" in table["sites"]


def quiet(_: str) -> None:
    """Progress that is ignored."""


def test_divergence_is_the_textbooks() -> None:
    """KL of two coins, by hand; none of a distribution from itself, however its logits are shifted."""
    true, other = np.log(np.array([[0.5, 0.5]], np.float32)), np.log(np.array([[0.9, 0.1]], np.float32))
    by_hand = 0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1)
    assert divergence(true, other) == pytest.approx([by_hand], rel=1e-5)
    assert divergence(other, other + 100) == pytest.approx([0], abs=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "int8-g64"])
def test_an_export_for_edge_runs_where_nothing_can_be_exported(
    byte_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """It brings graphs and weights, in groups where it was quantized, and says so when it is opened."""
    chosen, held, out = precision_of(precision), open_checkpoint(byte_llama), tmp_path / "out"
    if isinstance(chosen, Grouped):
        held = prepare_quantized(held, chosen.scheme, quiet)
    export_checkpoint(held, out, quiet, TARGETS["edge"], original=open_checkpoint(byte_llama))
    with load(byte_llama, f"onnx:{precision}", threads=1) as model:
        want = model.logits([5, 3, 1, 2])
    monkeypatch.setenv("EDGE_CACHE", str(tmp_path / "empty"))
    said: list[str] = []
    with load(out, "onnx", threads=1, progress=said.append) as model:
        assert np.array_equal(model.logits([5, 3, 1, 2]), want), "the exported folder is another model"
        assert model.engine == ("onnx" if precision == "fp32" else f"onnx:{precision}")
    assert not any("exporting" in line or "rounding" in line for line in said), f"work was left to do: {said}"
    parity = read_manifest(out)
    assert parity is not None and set(parity.parity) == {"fast", "probe", "edit", QUANTIZATION}
    assert (parity.parity[QUANTIZATION].mean_kl_nats > 0) == (precision != "fp32")


def test_quantized_weights_cannot_become_others(byte_llama: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    quantized = prepare_quantized(open_checkpoint(byte_llama), Scheme(8, 32, Zero.WHOLE), quiet)
    export_checkpoint(quantized, out, quiet, TARGETS["edge"])
    with pytest.raises(MisuseError, match="stored as int8, not int4; use int8"):
        load(out, "torch:int4")
    with load(out, "torch", threads=1) as model:
        assert model.engine == "torch:int8"


@pytest.mark.parametrize("tool", TARGETS)
def test_a_plan_names_every_file_and_its_bytes(byte_llama: Path, tmp_path: Path, tool: str) -> None:
    """What a dry run promises is written, the manifest aside; the sizes it names are within a page a tensor."""
    held, out = open_checkpoint(byte_llama), tmp_path / "out"
    planned = dict(TARGETS[tool].planned(held, DENSE))
    export_checkpoint(held, out, quiet, TARGETS[tool])
    written = {file.relative_to(out).as_posix(): file.stat().st_size for file in out.rglob("*") if file.is_file()}
    manifests = {name for name in written if name.endswith("manifest.json")}
    assert set(written) - manifests == set(planned)
    gaps = 4096 * len(parameter_shapes(held.spec)) + 2 * 4096
    for name, size in planned.items():
        assert size is None or size <= written[name] <= size + gaps, f"{name}: {size} promised, {written[name]} written"
    assert peak_bytes(held, DENSE, TARGETS[tool]) > sum(size or 0 for size in planned.values())


@pytest.mark.parametrize("name", ["tokenizer_config.json", "model.safetensors"])
def test_a_link_out_of_the_checkpoint_is_not_copied(tmp_path: Path, name: str) -> None:
    """A cloned repository may link to any file of its reader's; within the hub's cache, files are links."""
    entry, secret = tmp_path / "models--someone--tiny", tmp_path / "secret.json"
    folder = write_byte_llama(entry / "snapshots" / "abc")
    checkpoint, layout = open_checkpoint(folder), DENSE
    (folder / "tokenizer_config.json").write_text("{}")
    (entry / "blobs").mkdir()
    for target in (entry / "blobs" / "1", secret):
        os.replace(folder / name, target)
        (folder / name).symlink_to(target)
        if target != secret:
            assert (name, target.stat().st_size) in TARGETS["edge"].planned(checkpoint, layout)
            os.replace(target, folder / name)
    with pytest.raises(EdgeError, match=rf"{name} links to .*secret\.json, outside the checkpoint"):
        export_checkpoint(checkpoint, tmp_path / "out", lambda _: None, TARGETS["edge"])
    assert not (tmp_path / "out").exists()
