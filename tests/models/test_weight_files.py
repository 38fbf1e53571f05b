"""Which files and tensors of a folder count is what transformers decides; what cannot be decided is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from transformers import AutoModelForCausalLM
from transformers.modeling_utils import _get_resolved_checkpoint_files

import edge
from models.checkpoint import open_checkpoint
from models.errors import CheckpointError, EdgeError
from models.precision import Scheme, Zero
from models.quantized_file import write_quantized
from models.safetensors_file import tensor_places
from models.weight_files import INDEX, WHOLE, weight_files
from tests.reference import REFERENCES, reference_logits, write_reference

IDS = [3, 1, 41, 59, 26, 5, 35, 89]

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")

BESIDE = (
    "._model.safetensors",
    "._model-00001-of-00002.safetensors",
    ".model.safetensors",
    "optimizer.safetensors",
    "optimizer_1.safetensors",
    "adapter_model.safetensors",
    "pytorch_model.safetensors",
    "model-old.safetensors",
    "model (1).safetensors",
    "model.safetensors.bak",
    "training_args.bin",
)
"""Files next to weights that are never used while there are others."""


def theirs(folder: Path) -> set[str]:
    """The files that transformers reads; none where it finds none, or pickled ones, or lacks one."""
    try:
        files, _ = _get_resolved_checkpoint_files(str(folder), None, None, None, None, False)
    except OSError:
        return set()
    found = {Path(file).name for file in files or ()}
    return found if all(name.endswith(".safetensors") and (folder / name).is_file() for name in found) else set()


def ours(folder: Path) -> set[str]:
    try:
        return {file.name for file in weight_files(folder)}
    except CheckpointError:
        return set()


@settings(max_examples=100)
@given(names=st.sets(st.sampled_from((WHOLE, INDEX, *SHARDS, "pytorch_model.bin", *BESIDE))))
def test_the_files_of_a_folder_that_count_are_those_of_transformers(
    names: set[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("folder")
    for name in names:
        (folder / name).touch()
    if INDEX in names:
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": {"a": SHARDS[0], "b": SHARDS[1]}}))
    wanted, found = theirs(folder), ours(folder)
    if wanted:
        assert found == wanted, f"of {sorted(names)}"
    elif "pytorch_model.bin" in names or INDEX in names:
        assert not found, f"of {sorted(names)}, transformers reads none of {sorted(found)}"
    else:
        # transformers gives up; Edge reads what can only be meant.
        left = {name for name in names if name.endswith(".safetensors") and not name.startswith((".", "opt", "ada"))}
        assert found in (set(), set(SHARDS), left), f"of {sorted(names)}"
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    write_reference(REFERENCES["llama-grouped-tied"](), folder)
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "tiny-llama"))


def change_config(folder: Path, **keys: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | keys))


def store(folder: Path, name: str, tensor: np.ndarray) -> None:
    """Adds a tensor to those that are there."""
    save_file(load_file(folder / WHOLE) | {name: tensor}, folder / WHOLE, {"format": "pt"})


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as refused:
        open_checkpoint(folder)
    assert "\n" not in str(refused.value), "a refusal is one line"
    return str(refused.value)


def same(one: Path, other: Path) -> bool:
    left, right = open_checkpoint(one).weights, open_checkpoint(other).weights
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)


def test_other_files_never_override_the_weights(written: Path, folder: Path) -> None:
    """Read in the order of names, an old copy or an optimizer's state took the place of the weights."""
    doubled = {name: 2 * value for name, value in load_file(folder / WHOLE).items()}
    for name in (
        "optimizer.safetensors",
        "pytorch_model.safetensors",
        "z-old.safetensors",
        "adapter_model.safetensors",
    ):
        save_file(doubled, folder / f"{name}.safetensors")
    (folder / "._model.safetensors").write_bytes(b"\0\5\26\7")
    assert same(written, folder)


def test_a_whole_file_beside_a_stale_index_is_read(written: Path, folder: Path) -> None:
    (folder / INDEX).write_text(json.dumps({"weight_map": {"model.norm.weight": SHARDS[0]}}))
    assert same(written, folder)


@pytest.mark.parametrize("stem", ["model", "pytorch_model", "tiny"])
def test_shards_without_an_index_are_read_and_a_lost_one_is_named(written: Path, folder: Path, stem: str) -> None:
    tensors = list(load_file(folder / WHOLE).items())
    (folder / WHOLE).unlink()
    for number in (1, 2):
        save_file(dict(tensors[number - 1 :: 2]), folder / f"{stem}-{number:05}-of-00002.safetensors")
    assert same(written, folder)
    (folder / f"{stem}-00002-of-00002.safetensors").unlink()
    assert f"lacks the shard {stem}-00002-of-00002.safetensors" in refusal(folder)


def test_an_ambiguous_choice_of_files_is_refused_with_their_names(folder: Path) -> None:
    (folder / WHOLE).rename(folder / "first.safetensors")
    assert open_checkpoint(folder).files[0].name == "first.safetensors"
    shutil.copy(folder / "first.safetensors", folder / "second.safetensors")
    said = refusal(folder)
    assert "first.safetensors, second.safetensors" in said and f"rename the right file to {WHOLE}" in said


def test_a_config_may_name_its_file(written: Path, folder: Path) -> None:
    (folder / WHOLE).rename(folder / "consolidated.safetensors")
    shutil.copy(folder / "consolidated.safetensors", folder / "b.safetensors")
    change_config(folder, transformers_weights="consolidated.safetensors")
    assert same(written, folder)


def test_the_same_tensor_in_two_shards_is_refused(folder: Path) -> None:
    tensors = load_file(folder / WHOLE)
    (folder / WHOLE).unlink()
    for shard in SHARDS:
        save_file(tensors, folder / shard)
    assert "both have 'lm_head" in refusal(folder) or "both have 'model." in refusal(folder)


def test_the_same_tensor_twice_in_a_header_is_refused(tmp_path: Path) -> None:
    entry = '{"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}'
    header = f'{{"a": {entry}, "a": {entry}}}'.encode()
    (tmp_path / WHOLE).write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(CheckpointError, match="'a' twice"):
        tensor_places(tmp_path / WHOLE)


def test_tensors_that_share_bytes_are_refused(tmp_path: Path) -> None:
    entries = {name: {"dtype": "F32", "shape": [2], "data_offsets": [at, at + 8]} for name, at in (("a", 0), ("b", 4))}
    header = json.dumps(entries).encode()
    (tmp_path / WHOLE).write_bytes(len(header).to_bytes(8, "little") + header + bytes(12))
    with pytest.raises(CheckpointError, match="'b' overlaps another"):
        tensor_places(tmp_path / WHOLE)


# ---- names of tensors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", ["model.{}", "{}", "base_model.model.model.{}", "language_model.model.{}",
                                  "model.language_model.{}", "base_model.model.{}", "language_model.{}"])  # fmt: skip
def test_what_names_begin_with_does_not_matter(written: Path, folder: Path, kept: str) -> None:
    tensors = {kept.format(name.removeprefix("model.")): value for name, value in load_file(folder / WHOLE).items()}
    save_file(tensors | {"vision_tower.layers.0.norm.weight": np.ones(4, np.float32)}, folder / WHOLE)
    assert same(written, folder)


def test_one_tensor_under_two_names_is_refused(folder: Path) -> None:
    store(folder, "norm.weight", np.ones(32, np.float32))
    assert "'model.norm.weight' and 'norm.weight'" in refusal(folder)


@pytest.mark.parametrize("kind", ["F8_E4M3", "F8_E5M2", "I8", "F4", "C64", "WHAT"])
def test_tensors_that_nobody_asks_for_may_have_any_type(written: Path, folder: Path, kind: str) -> None:
    retype(folder, "extra.weight", kind)
    assert same(written, folder)


@pytest.mark.parametrize("kind", ["F8_E4M3", "I8", "U8", "I64", "BOOL"])
def test_weights_of_a_type_that_is_no_weight_are_refused_by_it(folder: Path, kind: str) -> None:
    change_config(folder, quantization_config={"quant_method": "fp8"})
    retype(folder, "model.norm.weight", kind)
    said = refusal(folder)
    assert "'model.norm.weight'" in said and f"stored as {kind} by 'fp8'" in said


def retype(folder: Path, name: str, kind: str) -> None:
    """Makes the file state another type for a tensor, whose bytes fit it; the tensor is added where it is not there."""
    tensors = load_file(folder / WHOLE)
    width = {"F8_E4M3": 1, "F8_E5M2": 1, "I8": 1, "U8": 1, "BOOL": 1, "I64": 8}.get(kind, 1)
    tensors[name] = np.zeros(32 * width, np.uint8)
    save_file(tensors, folder / WHOLE)
    raw = (folder / WHOLE).read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    header[name] |= {"dtype": kind, "shape": [32]}
    text = json.dumps(header).encode()
    (folder / WHOLE).write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])


# ---- quantized or not, by the tensors --------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["bitsandbytes", "gptq", "fp8"])
def test_a_method_left_over_on_dense_weights_says_nothing(written: Path, folder: Path, method: str) -> None:
    change_config(folder, quantization_config={"quant_method": method, "load_in_4bit": True})
    assert same(written, folder)


@pytest.mark.parametrize("method", ["bitsandbytes", None])
@pytest.mark.parametrize(
    "part", ["SCB", "weight.absmax", "weight_scale", "qzeros", "weight.quant_state.bitsandbytes__nf4"]
)
def test_quantized_weights_are_detected_by_the_tensors_next_to_them(
    folder: Path, part: str, method: str | None
) -> None:
    if method:
        change_config(folder, quantization_config={"quant_method": method})
    store(folder, f"model.layers.0.mlp.up_proj.{part}", np.ones(3, np.float32))
    said = refusal(folder)
    assert f"'model.layers.0.mlp.up_proj.{part}'" in said and "quantized" in said
    assert (f"by '{method}'" in said) is (method is not None)


def test_what_rounds_as_it_runs_is_refused_though_its_weights_are_dense(folder: Path) -> None:
    change_config(folder, quantization_config={"quant_method": "bitnet"})
    assert "'bitnet' quantizes weights and activations" in refusal(folder)


def test_an_adapter_that_is_not_merged_is_refused(folder: Path) -> None:
    store(folder, "model.layers.1.self_attn.q_proj.lora_A.weight", np.ones((4, 32), np.float32))
    assert "not merged" in refusal(folder)


# ---- tied heads -----------------------------------------------------------------------------------------------

TIED = {config().model_type: name for name, config in reversed(REFERENCES.items()) if config().tie_word_embeddings}
"""One reference of each family that can tie its head, by family."""


@pytest.mark.parametrize("name", TIED.values(), ids=TIED)
def test_a_tied_head_is_read_as_transformers_reads_it(name: str, tmp_path: Path) -> None:
    """Stored beside the embedding with other numbers, it counts; stored alone, it is the embedding, too."""
    write_reference(REFERENCES[name](), tmp_path)
    held = load_file(tmp_path / WHOLE)
    (embedding,) = (one for one in held if one.endswith(("embed_tokens.weight", "wte.weight", "embed_in.weight")))
    head, numbers = "embed_out.weight" if "neox" in name else "lm_head.weight", held.pop(embedding)
    other = np.random.default_rng(0).standard_normal(numbers.shape).astype(np.float32)
    for tensors, is_tied in (
        ({embedding: numbers, head: other}, False),
        ({embedding: numbers, head: numbers.copy()}, True),
        ({head: numbers}, True),
    ):
        save_file(held | tensors, tmp_path / WHOLE, {"format": "pt"})
        want = reference_logits(AutoModelForCausalLM.from_pretrained(tmp_path).eval().float(), IDS)
        with edge.load(tmp_path, engine="torch") as model:
            worst, tied = float(np.abs(model.logits(IDS) - want).max()), model.spec.tied
        assert worst < 2e-4, f"with {sorted(tensors)} stored, logits leave transformers by {worst:.2g}"
        assert tied is is_tied


def test_quantized_weights_keep_a_head_that_the_config_ties(folder: Path, tmp_path: Path) -> None:
    """What Edge quantizes is read with the same config.json, in which the head is still tied."""
    store(folder, "lm_head.weight", np.random.default_rng(0).standard_normal((96, 32)).astype(np.float32))
    original, quantized = open_checkpoint(folder), tmp_path / "quantized"
    quantized.mkdir()
    shutil.copy(folder / "config.json", quantized)
    write_quantized(original.spec, original.weights, Scheme(8, 32, Zero.MIDDLE), quantized / WHOLE, lambda _: None)
    opened = open_checkpoint(quantized)
    assert not opened.spec.tied
    assert np.allclose(opened.weights["head.weight"], original.weights["head.weight"], atol=0.02)


# ---- names of files, and files from outside ---------------------------------------------------------------------

LEAVING = ["../secret/model.safetensors", "/etc/passwd", "a/b", "a\\b", "C:a", ".", "..", "", "a\0b", "\n", 3, None, []]


@pytest.mark.parametrize("name", LEAVING, ids=repr)
def test_a_name_that_leaves_the_folder_is_refused_even_where_the_file_is_there(folder: Path, name: object) -> None:
    secret = folder.parent / "secret"
    secret.mkdir()
    (folder / WHOLE).rename(secret / WHOLE)
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": SHARDS[0], "model.norm.weight": name}}))
    for shard in SHARDS:
        shutil.copy(secret / WHOLE, folder / shard)
    said = refusal(folder)
    assert "not a plain file name" in said or "cannot be read" in said or "weight_map" in said
    (folder / INDEX).unlink()
    change_config(folder, transformers_weights=name if name is not None else "../x")
    assert "not a plain file name" in refusal(folder)


def test_symlinks_as_the_hub_s_cache_has_them_are_followed(written: Path, tmp_path: Path) -> None:
    entry = tmp_path / "models--someone--tiny"
    snapshot, blobs = entry / "snapshots" / "abc", entry / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, file in enumerate(sorted(written.iterdir())):
        shutil.copy(file, blobs / str(number))
        (snapshot / file.name).symlink_to(Path("../../blobs") / str(number))
    assert same(written, snapshot)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 1 << 70) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)

_ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "BF16", "I8", "X"]) | _JSON,
        "shape": st.lists(st.integers(0, 4), max_size=3) | _JSON,
        "data_offsets": st.tuples(st.integers(0, 64), st.integers(0, 64)).map(list) | _JSON,
    },
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(header=st.dictionaries(st.text(max_size=5), _ENTRY | _JSON, max_size=4) | _JSON, rest=st.integers(0, 80))
def test_any_header_is_read_or_refused(header: object, rest: int, tmp_path: Path) -> None:
    text = json.dumps(header).encode()
    file = tmp_path / WHOLE
    file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(rest))
    try:
        places = tensor_places(file)
    except CheckpointError as refused:
        assert str(file) in str(refused) and "\n" not in str(refused)
    else:
        for place in places.values():
            if place.kind == "F32":
                assert place.read().shape == place.shape


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=200) | st.integers(0, 1 << 64 - 1).map(lambda n: (n % (1 << 64)).to_bytes(8, "little")))
def test_any_bytes_are_read_or_refused_as_weights(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / WHOLE).write_bytes(raw)
    with pytest.raises(CheckpointError):
        tensor_places(tmp_path / WHOLE)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(index=st.fixed_dictionaries({"weight_map": st.dictionaries(st.text(), st.text() | _JSON, max_size=3)}) | _JSON)
def test_any_index_is_read_or_refused(index: object, tmp_path: Path) -> None:
    (tmp_path / INDEX).write_text(json.dumps(index))
    try:
        files = weight_files(tmp_path)
    except EdgeError as refused:
        assert str(tmp_path) in str(refused) and "\n" not in str(refused)
    else:
        assert all(file.parent == tmp_path and file.is_file() for file in files)


def test_deep_nesting_is_refused(tmp_path: Path, folder: Path) -> None:
    deep = b"[" * 200_000
    (tmp_path / WHOLE).write_bytes(len(deep).to_bytes(8, "little") + deep)
    with pytest.raises(CheckpointError, match="damaged"):
        tensor_places(tmp_path / WHOLE)
    for name in (INDEX, "config.json"):
        (tmp_path / WHOLE).unlink(missing_ok=True)
        shutil.copy(folder / "config.json", tmp_path)
        (tmp_path / name).write_bytes(deep)
        with pytest.raises(EdgeError, match=name):
            open_checkpoint(tmp_path)
