"""GGUF files give the keys and tensors that the `gguf` package finds, and damaged ones are refused in one sentence."""

import multiprocessing
import os
import shutil
import tempfile
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models.errors import CheckpointError
from models.sources.gguf import values as gguf_values
from models.sources.gguf.file import open_gguf
from models.sources.gguf.ggml_types import GGML_TYPES
from models.sources.gguf.values import Value
from tests.campaign.gguf_files import make, use
from tests.models.sources.gguf_writer import KeyValue, Tensor, header_pieces, write_gguf, write_split_gguf

INPUTS = 2_000
"""Damaged files here; `python -m tests.campaign.fuzz 10000 SEED --kind gguf` makes more."""

Types = gguf.GGUFValueType
NUMBERS: Mapping[Types, tuple[type[np.generic], tuple[float, ...]]] = {
    Types.UINT8: (np.uint8, (0, 255)),
    Types.INT8: (np.int8, (-128, 127)),
    Types.UINT16: (np.uint16, (0, 2**16 - 1)),
    Types.INT16: (np.int16, (-(2**15), 2**15 - 1)),
    Types.UINT32: (np.uint32, (0, 2**32 - 1)),
    Types.INT32: (np.int32, (-(2**31), 2**31 - 1)),
    Types.UINT64: (np.uint64, (0, 2**64 - 1)),
    Types.INT64: (np.int64, (-(2**63), 2**63 - 1)),
    Types.FLOAT32: (np.float32, (0.1, float("-inf"), 1e-45)),
    Types.FLOAT64: (np.float64, (0.1, float("inf"), 5e-324)),
    Types.BOOL: (np.bool_, (True, False)),
}
ONE: Mapping[str, Tensor] = {"t": (0, (2, 3), bytes(24))}
PAIR: Mapping[str, Tensor] = {"t": (0, (8,), bytes(32)), "u": (0, (8,), bytes(32))}


def written(file: Path, add: Callable[[gguf.GGUFWriter], None], **options: Any) -> Path:
    """A file of the package's writer."""
    writer = gguf.GGUFWriter(file, "llama", **options)
    add(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def plain(value: Value) -> object:
    """A value as the package's reader gives it."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [text.decode() for text in value] if isinstance(value, list) else value


def assert_read_alike(file: Path) -> None:
    """Both readers find the same keys and tensors in a file."""
    theirs, ours = gguf.GGUFReader(file), open_gguf(file)
    fields = {key: field.contents() for key, field in theirs.fields.items() if not key.startswith("GGUF.")}
    assert list(fields) == list(ours.keys)
    for key, expected in fields.items():
        found = plain(ours.keys[key])
        assert type(found) is type(expected) and repr(found) == repr(expected), f"{key} is {found}, not {expected}"
    assert [tensor.name for tensor in theirs.tensors] == list(ours.tensors)
    for tensor in theirs.tensors:
        found_tensor = ours.tensors[tensor.name]
        assert found_tensor.kind == tensor.tensor_type.name
        assert found_tensor.shape == tuple(tensor.shape[::-1].tolist())
        assert (found_tensor.offset_bytes, found_tensor.stored_bytes) == (tensor.data_offset, tensor.n_bytes)
        assert found_tensor.rows().tobytes() == tensor.data.tobytes()


def refusal(file: Path) -> str:
    with pytest.raises(CheckpointError) as refused:
        open_gguf(file)
    message = str(refused.value)
    assert "\n" not in message and str(file.parent) in message
    return message


def written_raw(folder: Path, pieces: list[bytes], blocks: bytes = bytes(64)) -> Path:
    """A file of the fields of a header, padded to 32 bytes, and the blocks of all tensors."""
    header = b"".join(pieces)
    file = folder / "raw.gguf"
    file.write_bytes(header + bytes(-len(header) % 32) + blocks)
    return file


def u32(number: int) -> bytes:
    return number.to_bytes(4, "little")


def u64(number: int) -> bytes:
    return number.to_bytes(8, "little")


def traced_peak_bytes(use_file: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        use_file()
    finally:
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak_bytes


# ---- files as the package writes and reads them --------------------------------------------------------------


@pytest.mark.parametrize("kind", NUMBERS, ids=lambda kind: kind.name)
def test_numbers_of_the_packages_writer_are_read(kind: Types, tmp_path: Path) -> None:
    dtype, values = NUMBERS[kind]
    numbers = np.array(values, dtype)

    def add(writer: gguf.GGUFWriter) -> None:
        writer.add_key_value("one", numbers[0].item(), kind)
        writer.add_key_value("many", numbers.tolist(), Types.ARRAY, sub_type=kind)

    opened = open_gguf(written(tmp_path / "a.gguf", add))
    one, many = opened.keys["one"], opened.keys["many"]
    assert one == numbers[0].item() and type(one) is type(numbers[0].item())
    assert isinstance(many, np.ndarray) and many.dtype == dtype
    np.testing.assert_array_equal(many, numbers)


def test_strings_of_the_packages_writer_are_read(tmp_path: Path) -> None:
    def add(writer: gguf.GGUFWriter) -> None:
        writer.add_string("text", "é\n\U0001f600")
        writer.add_array("texts", ["", "é", "\U0001f600"])

    keys = open_gguf(written(tmp_path / "a.gguf", add)).keys
    assert keys["general.architecture"] == "llama"
    assert keys["text"] == "é\n\U0001f600"
    assert keys["texts"] == [b"", "é".encode(), "\U0001f600".encode()]


@pytest.mark.parametrize("number", GGML_TYPES, ids=lambda number: GGML_TYPES[number].name)
def test_tensors_of_every_type_are_read_as_the_package_reads_them(number: int, tmp_path: Path) -> None:
    kind = GGML_TYPES[number]
    shape, size = (3, 2, 4 * kind.block_weights), 3 * 2 * 4 * kind.block_bytes
    blocks = np.random.default_rng(number).bytes(size)
    file = write_gguf(tmp_path / "a.gguf", {}, {"before": (24, (3,), b"abc"), "t": (number, shape, blocks)})
    assert_read_alike(file)
    rows = open_gguf(file).tensors["t"].rows()
    assert rows.shape == (6, 4 * kind.block_bytes) and rows.tobytes() == blocks and not rows.flags.writeable

    raw = np.frombuffer(blocks, np.uint8).reshape(3, 2, -1)
    ggml_type = gguf.GGMLQuantizationType(number)
    assert_read_alike(written(tmp_path / "b.gguf", lambda writer: writer.add_tensor("t", raw, raw_dtype=ggml_type)))


def test_the_types_and_sizes_of_blocks_are_those_of_the_package() -> None:
    theirs = {kind.value: (kind.name, *sizes) for kind, sizes in gguf.GGML_QUANT_SIZES.items()}
    ours = {number: (kind.name, kind.block_weights, kind.block_bytes) for number, kind in GGML_TYPES.items()}
    only_in_products = {"Q8_1", "Q8_K"}  # ggml quantizes activations to them, and never weights
    assert ours == {number: kind for number, kind in theirs.items() if kind[0] not in only_in_products}


@pytest.mark.parametrize("alignment", [8, 64, 4096])
def test_an_alignment_moves_all_tensors(alignment: int, tmp_path: Path) -> None:
    tensors: dict[str, Tensor] = {f"t{n}": (24, (n,), bytes([n]) * n) for n in (1, 8, 65)}
    assert_read_alike(write_gguf(tmp_path / "a.gguf", {}, tensors, alignment))

    def add(writer: gguf.GGUFWriter) -> None:
        writer.add_custom_alignment(alignment)
        for n in (1, 8, 65):
            writer.add_tensor(f"t{n}", np.full(n, n, np.int8))

    assert_read_alike(written(tmp_path / "b.gguf", add))


def test_version_2_is_read_like_version_3(tmp_path: Path) -> None:
    opened = [open_gguf(write_gguf(tmp_path / "a.gguf", {"k": 1}, ONE, version=version)) for version in (2, 3)]
    assert opened[0] == opened[1]


NAMES = st.text(st.characters(codec="utf8"), min_size=1, max_size=20).filter(lambda name: name[:5] != "GGUF.")
VALUES: st.SearchStrategy[KeyValue] = st.one_of(
    st.text(max_size=50),
    st.lists(st.text(max_size=9), max_size=20),
    *(arrays.from_dtype(np.dtype(dtype)) for dtype, _ in NUMBERS.values()),
    *(arrays.arrays(dtype, st.integers(0, 20)) for dtype, _ in NUMBERS.values()),
)


@settings(max_examples=50)
@given(st.dictionaries(NAMES.filter(lambda name: name != "general.alignment"), VALUES, max_size=6))
def test_any_keys_are_read_as_the_package_reads_them(keys: dict[str, KeyValue]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert_read_alike(write_gguf(Path(folder) / "a.gguf", keys, ONE))


def test_text_that_is_not_utf8_is_replaced_and_tokens_keep_their_bytes(tmp_path: Path) -> None:
    keys = open_gguf(write_gguf(tmp_path / "a.gguf", {"text": b"a\xffb", "texts": [b"a\xffb"]}, {})).keys
    assert keys["text"] == "a\ufffdb" and keys["texts"] == [b"a\xffb"]


# ---- split files ---------------------------------------------------------------------------------------------


def split(folder: Path) -> list[Path]:
    parts: list[dict[str, Tensor]] = [{}, {"a": (24, (3,), b"abc")}, {"b": (24, (2,), b"de"), "c": (24, (1,), b"f")}]
    return write_split_gguf(folder, "m", {"general.architecture": "llama"}, parts)


@pytest.mark.parametrize("named", range(3))
def test_any_part_opens_all_parts(named: int, tmp_path: Path) -> None:
    files = split(tmp_path)
    opened = open_gguf(files[named])
    assert opened.files == tuple(files)
    assert opened.keys["general.architecture"] == "llama" and opened.keys["split.no"] == 0
    assert {name: tensor.rows().tobytes() for name, tensor in opened.tensors.items()} == {
        "a": b"abc",
        "b": b"de",
        "c": b"f",
    }
    for file in files:
        gguf.GGUFReader(file)


def test_parts_of_the_packages_writer_are_opened(tmp_path: Path) -> None:
    def add(writer: gguf.GGUFWriter) -> None:
        for n in range(5):
            writer.add_tensor(f"t{n}", np.full((2, 8), n, np.float32))

    written(tmp_path / "m.gguf", add, split_max_tensors=2)
    opened = open_gguf(tmp_path / "m-00002-of-00003.gguf")
    assert [file.name for file in opened.files] == [f"m-0000{n}-of-00003.gguf" for n in (1, 2, 3)]
    assert opened.keys["general.architecture"] == "llama"
    for n in range(5):
        assert (opened.tensors[f"t{n}"].rows().view(np.float32) == n).all()


@pytest.mark.parametrize("count", [0, 1])
def test_a_file_with_one_part_needs_no_number_in_its_name(count: int, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "a.gguf", {"split.no": np.uint16(0), "split.count": np.uint16(count)}, ONE)
    assert open_gguf(file).files == (file,)


def test_missing_parts_are_named(tmp_path: Path) -> None:
    files = split(tmp_path)
    files[0].unlink()
    files[2].unlink()
    message = refusal(files[1])
    assert "lacks m-00001-of-00003.gguf, m-00003-of-00003.gguf of the 3 parts of m-00002-of-00003.gguf" in message
    assert message.endswith("download all parts into this folder")


@pytest.mark.parametrize("name", ["m.gguf", "m-00001-of-00002.gguf", "m-1-of-3.gguf"])
def test_a_renamed_part_is_refused(name: str, tmp_path: Path) -> None:
    renamed = split(tmp_path)[0].rename(tmp_path / name)
    assert f"{name} is one of 3 parts, so its name must end in '-00001-of-00003.gguf'" in refusal(renamed)


def test_a_part_under_the_name_of_another_is_refused(tmp_path: Path) -> None:
    files = split(tmp_path)
    shutil.copyfile(files[1], files[2])
    assert "m-00003-of-00003.gguf has part 2 of 3, and its name says part 3 of 3" in refusal(files[0])


def test_a_tensor_in_two_parts_is_refused(tmp_path: Path) -> None:
    files = write_split_gguf(tmp_path, "m", {}, [ONE, ONE])
    assert "m-00001-of-00002.gguf and m-00002-of-00002.gguf both have the tensor 't'" in refusal(files[0])


def test_a_part_that_lacks_tensors_is_refused(tmp_path: Path) -> None:
    files = split(tmp_path)
    numbers: dict[str, KeyValue] = {"split.no": 2, "split.count": 3, "split.tensors.count": 3}
    write_gguf(files[2], numbers, {"b": (24, (2,), b"de")})
    assert "counts 3 tensors in all parts, and they have 2" in refusal(files[0])


@pytest.mark.parametrize("value", ["3", -1, 2.0])
def test_a_count_of_parts_that_is_none_is_refused(value: KeyValue, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "a.gguf", {"split.count": value}, {})
    assert "its key 'split.count' is not a count" in refusal(file)


# ---- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is truncated or damaged: it is empty; download or copy it again"),
        (b"GGU", "is not a GGUF file: it starts with b'GGU'; name a GGUF file"),
        (b"PK\x03\x04....", "is not a GGUF file: it starts with b'PK\\x03\\x04'; name a GGUF file"),
        (b"lmgg\x01\0\0\0", "has the format GGML, which llama.cpp had before GGUF; download the model as GGUF"),
        (b"tjgg\x03\0\0\0", "has the format GGJT, which llama.cpp had before GGUF; download the model as GGUF"),
        (b"GGUF\x03", "is truncated or damaged: it ends in its version; download or copy it again"),
        (b"GGUF\x03\0\0\0", "is truncated or damaged: it claims 16 bytes at byte 8 of 8; download or copy it again"),
        (b"GGUF\x01\0\0\0", "has version 1 of GGUF, and Edge reads 2 and 3; download a file of version 3, or convert"),
        (b"GGUF\0\0\0\0", "has version 0 of GGUF, and Edge reads 2 and 3; download a file of version 3, or convert"),
        (b"GGUF\x04\0\0\0", "has version 4 of GGUF, and Edge reads 2 and 3; download a file of version 3, or convert"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer, not the file itself; download it"),
    ],
)
def test_other_files_are_refused_with_what_to_do(content: bytes, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "a.gguf"
    file.write_bytes(content)
    assert f"{file} {sentence}" in refusal(file)


def test_a_big_endian_file_is_refused_with_the_command_that_converts_it(tmp_path: Path) -> None:
    file = written(tmp_path / "a b.gguf", lambda writer: None, endianess=gguf.GGUFEndian.BIG)
    assert f"gguf-convert-endian '{file}' little" in refusal(file)


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.gguf").mkdir()
    os.mkfifo(tmp_path / "pipe.gguf")
    assert "folder.gguf is a folder; name the GGUF file in it" in refusal(tmp_path / "folder.gguf")
    assert "pipe.gguf is a device or a pipe; name a GGUF file" in refusal(tmp_path / "pipe.gguf")
    assert "cannot be read: No such file or directory; check its name" in refusal(tmp_path / "absent.gguf")


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    file = write_gguf(tmp_path / "a.gguf", {}, ONE)
    monkeypatch.setattr(Path, "open", deny)
    assert "cannot be read: Permission denied; check its name, and that you may read it" in refusal(file)


def test_a_tensor_whose_file_is_gone_is_refused(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "a.gguf", {}, ONE)
    tensor = open_gguf(file).tensors["t"]
    os.truncate(file, 20)
    with pytest.raises(CheckpointError, match="changed or moved while it was open: open it again"):
        tensor.rows()
    file.unlink()
    with pytest.raises(CheckpointError, match="changed or moved while it was open: open it again"):
        tensor.rows()


KEYS: list[tuple[str, KeyValue, int, bytes, str]] = [
    ("many tensors", 1, 2, u64(2**63), "it claims 9,223,372,036,854,775,808 tensors in"),
    ("many keys", 1, 3, u64(2**64 - 1), "it claims 18,446,744,073,709,551,615 keys in"),
    ("no name", 1, 4, u64(0), "a name has 0 bytes"),
    ("a long name", 1, 4, u64(2**64 - 1), "a name has 18,446,744,073,709,551,615 bytes"),
    ("a name past the end", 1, 4, u64(60_000), "it claims 60,000 bytes at byte 32 of"),
    ("a name of other bytes", 1, 5, b"\xff", "the name b'\\xff' is not UTF-8"),
    ("an unknown type", 1, 6, u32(13), "in the key 'k', a value has the type 13, which GGUF does not have"),
    ("a bool of 2", True, 7, b"\2", "in the key 'k', a bool is neither 0 nor 1"),
    ("a long text", "x", 7, u64(2**40), "in the key 'k', it claims 1,099,511,627,776 bytes at byte"),
    ("an array of arrays", ["x"], 7, u32(9), "in the key 'k', an array has items of the type 9"),
    ("an array of nothing", ["x"], 7, u32(77), "in the key 'k', an array has items of the type 77"),
    ("many strings", ["x"], 8, u64(2**61), "in the key 'k', it claims 2,305,843,009,213,693,952 strings in"),
    ("a long string", ["x"], 9, u64(2**64 - 1), "in the key 'k', a string ends at byte 18,446,744,073,709,551,"),
    ("many numbers", np.ones(2), 8, u64(2**61), "in the key 'k', it claims 2,305,843,009,213,693,952 numbers in"),
    ("bools of 2", np.array([True, False]), 9, b"\1\2", "in the key 'k', a bool is neither 0 nor 1"),
]


@pytest.mark.parametrize(("value", "at", "field", "reason"), [case[1:] for case in KEYS], ids=[c[0] for c in KEYS])
def test_damaged_keys_are_refused(value: KeyValue, at: int, field: bytes, reason: str, tmp_path: Path) -> None:
    pieces = header_pieces({"k": value}, {})
    pieces[at] = field
    message = refusal(written_raw(tmp_path, pieces))
    assert f"raw.gguf is truncated or damaged: {reason}" in message and message.endswith("; download or copy it again")


TENSORS: list[tuple[str, int, bytes, str]] = [
    ("no sizes", 6, u32(0), "tensor 't' has 0 sizes"),
    ("many sizes", 6, u32(2**32 - 1), "tensor 't' has 4,294,967,295 sizes"),
    ("a size of 0", 7, u64(0), "tensor 't' of type F32 has the shape (0,)"),
    ("a large size", 7, u64(2**63), "tensor 't' ends at byte 36,893,488,147,419,103,"),
    ("no whole blocks", 8, u32(2), "tensor 't' of type Q4_0 has the shape (8,)"),
    ("larger numbers", 8, u32(28), "tensor 'u' overlaps another one"),
    ("no alignment", 9, u64(8), "tensor 't' is at 8, not a multiple of 32"),
    ("an equal offset", 9, u64(32), "overlaps another one"),
    ("an offset past the end", 9, u64(96), "tensor 't' ends at byte 224 of 160"),
    ("a negative offset", 9, u64(2**64 - 32), "tensor 't' ends at byte 18,446,744,073,709,551,"),
]


@pytest.mark.parametrize(("at", "field", "reason"), [case[1:] for case in TENSORS], ids=[c[0] for c in TENSORS])
def test_damaged_tensors_are_refused(at: int, field: bytes, reason: str, tmp_path: Path) -> None:
    pieces = header_pieces({}, PAIR)
    pieces[at] = field
    message = refusal(written_raw(tmp_path, pieces))
    assert "raw.gguf is truncated or damaged: " in message and reason in message


def test_names_that_occur_twice_are_refused(tmp_path: Path) -> None:
    twice = [b"t" if piece == b"u" else piece for piece in header_pieces({}, PAIR)]
    assert "it has the tensor 't' twice" in refusal(written_raw(tmp_path, twice))
    twice = [b"k" if piece == b"l" else piece for piece in header_pieces({"k": 1, "l": 1}, {})]
    assert "it has the key 'k' twice" in refusal(written_raw(tmp_path, twice))


def test_a_product_of_sizes_does_not_wrap(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "a.gguf", {}, {"t": (24, (2**32, 2**32), b"")})
    assert "tensor 't' ends at byte 18,446,744,073,709,551,712 of 96" in refusal(file)


def test_an_unknown_type_is_refused_with_the_name_of_the_tensor(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "a.gguf", {}, {"blk.0.ffn_up.weight": (99, (8,), bytes(32))})
    assert refusal(file) == (
        f"{file} has the tensor 'blk.0.ffn_up.weight' in a format that Edge does not know (ggml type 99); download the "
        "model in another quantization, such as Q4_K_M"
    )


@pytest.mark.parametrize("alignment", [0, 4, 24, 2**31])
def test_alignments_that_are_none_are_refused(alignment: int, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "a.gguf", {"general.alignment": alignment}, {})
    assert f"its key 'general.alignment' is {alignment:,}, not a power of two from 8" in refusal(file)


@pytest.mark.parametrize("value", ["32", 32.0, True, np.ones(5_000, np.int32), ["a"] * 5_000])
def test_an_alignment_that_is_not_a_number_is_refused(value: KeyValue, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "a.gguf", {"general.alignment": value}, {})
    assert "its key 'general.alignment' is not a whole number" in refusal(file)


# ---- any damage, and memory ----------------------------------------------------------------------------------


def use_made_up_files(folder: Path, n: int, seed: str) -> tuple[int, list[str]]:
    """How many of `n` made-up files opened, and those that neither opened nor were refused in one sentence."""
    opened, faults = 0, []
    for number in range(n):
        draw, own = Random(f"{seed}/{number}"), folder / str(number)
        own.mkdir()
        make(own, draw)
        try:
            use(own, draw)
            opened += 1
        except CheckpointError as refused:
            faults += [f"{number}: {refused}"] if "\n" in str(refused) or "; " not in str(refused) else []
        except Exception as error:
            faults.append(f"{number}: {error!r}")
        shutil.rmtree(own)
    return opened, faults


def test_damaged_files_open_or_are_refused_in_one_sentence(tmp_path: Path) -> None:
    # In its own process: there, no call is checked for its types, which takes most of the time here.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        opened, faults = pool.apply(use_made_up_files, (tmp_path, INPUTS, "every run the same"))
    assert not faults, f"{len(faults)} of {INPUTS} files, the first: {faults[0]}"
    assert INPUTS / 10 < opened < INPUTS / 2, f"{opened} of {INPUTS} files opened: too few are good, or damaged"


@given(st.binary(max_size=300))
def test_any_bytes_after_the_version_open_or_are_refused(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.gguf"
        file.write_bytes(b"GGUF\x03\0\0\0" + raw)
        try:
            open_gguf(file)
        except CheckpointError as refused:
            assert "\n" not in str(refused)


def test_a_file_truncated_at_any_byte_is_refused(tmp_path: Path) -> None:
    keys: dict[str, KeyValue] = {"text": "abc", "texts": ["a", "b"], "numbers": np.ones(3)}
    file = write_gguf(tmp_path / "a.gguf", keys, PAIR)
    for size in reversed(range(file.stat().st_size)):
        os.truncate(file, size)
        assert ("is truncated or damaged" if size >= 4 or size == 0 else "is not a GGUF file") in refusal(file)


def test_opening_reads_no_tensor(tmp_path: Path) -> None:
    size = 64 << 20
    file = write_gguf(tmp_path / "a.gguf", {"general.architecture": "llama"}, {"t": (0, (4096, 4096), b"")})
    os.truncate(file, file.stat().st_size + size)

    def use_file() -> None:
        assert open_gguf(file).tensors["t"].rows().nbytes == size

    assert traced_peak_bytes(use_file) < 1 << 20


MANY: Mapping[str, tuple[dict[str, KeyValue], dict[str, Tensor], bool]] = {
    "small strings": ({"k": [b"%02d" % (n % 100) for n in range(200_000)]}, {}, False),
    "strings": ({"k": [b"%060d" % n for n in range(30_000)]}, {}, True),
    "empty strings": ({"k": [b""] * 200_000}, {}, False),
    "small keys": ({f"{n:x}": np.uint8(1) for n in range(60_000)}, {}, False),
    "keys of empty arrays": ({f"{n:x}": np.ones(0) for n in range(60_000)}, {}, False),
    "keys of strings": ({f"{n:x}": b"x" * 900 for n in range(2_000)}, {}, False),
    "long names": ({f"\U0001f600{n}" + "x" * 60_000: True for n in range(30)}, {}, False),
    "long text": ({"k": "\U0001f600" + "x" * 2_000_000}, {}, False),
    "numbers": ({"k": np.ones(250_000)}, {}, True),
    "small tensors": ({}, {f"{n:x}": (24, (1, 1, 1, 1), b"x") for n in range(30_000)}, False),
    "tensors": ({}, {f"{n:x}": (24, (1, 1, 1, 800), bytes(800)) for n in range(300)}, True),
}


@pytest.mark.parametrize("name", MANY)
def test_a_header_takes_at_most_twice_the_file_in_memory(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_values, "SPARE_BYTES", 0)
    keys, tensors, opens = MANY[name]
    file = write_gguf(tmp_path / "a.gguf", keys, tensors)

    def use_file() -> None:
        if opens:
            open_gguf(file)
        else:
            assert "would take much more memory than" in refusal(file)

    peak_bytes = traced_peak_bytes(use_file)
    assert peak_bytes <= 2 * file.stat().st_size + (1 << 20), f"{peak_bytes:,} bytes"


def test_a_vocabulary_without_weights_opens(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "a.gguf", {"k": [b"%06d" % n for n in range(262_144)]}, {})
    tokens = open_gguf(file).keys["k"]
    assert isinstance(tokens, list) and len(tokens) == 262_144 and tokens[-1] == b"262143"
