"""Which GGUF file of a folder or repository a tag names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.sources.gguf.choice import file_with_tag, model_files, part_names, tag_of

FILES = [
    "gemma-3-F16.gguf", "gemma-3-BF16.gguf", "gemma-3-Q4_K_M.gguf", "gemma-3-UD-Q4_K_XL.gguf", "gemma-3-Q8_0.gguf",
    "Q6_K/gemma-3-Q6_K-00001-of-00002.gguf", "Q6_K/gemma-3-Q6_K-00002-of-00002.gguf", "mmproj-F32.gguf", "README.md",
    "gemma-3-IQ4_XS.gguf", "imatrix_unsloth.gguf", "mtp-gemma-3-Q4_0.gguf", "gemma.q5_0.gguf",
]  # fmt: skip


@pytest.mark.parametrize(
    ("tag", "file"),
    [
        ("Q4_K_M", "gemma-3-Q4_K_M.gguf"),
        ("q4_k_m", "gemma-3-Q4_K_M.gguf"),
        ("", "gemma-3-Q4_K_M.gguf"),
        ("Q6_K", "Q6_K/gemma-3-Q6_K-00001-of-00002.gguf"),
        ("Q5_0", "gemma.q5_0.gguf"),
        ("F16", "gemma-3-F16.gguf"),
        ("BF16", "gemma-3-BF16.gguf"),
        ("K_XL", "gemma-3-UD-Q4_K_XL.gguf"),
        ("F32", None),
        ("Q4_0", None),
        ("Q4", None),
        ("gemma", "Q6_K/gemma-3-Q6_K-00001-of-00002.gguf"),
        ("gemma-3-Q6_K-00001-of-00002", "Q6_K/gemma-3-Q6_K-00001-of-00002.gguf"),
        (".*", None),
    ],
)
def test_a_tag_names_a_model(tag: str, file: str | None) -> None:
    assert file_with_tag(FILES, tag) == file


def test_without_a_tag_a_usual_type_is_taken() -> None:
    assert file_with_tag(["a-Q8_0.gguf", "a-Q2_K.gguf"]) == "a-Q8_0.gguf"
    assert file_with_tag(["b.gguf", "a.gguf"]) == "a.gguf"
    assert file_with_tag(["a.safetensors"]) is None


@pytest.mark.parametrize(
    ("file", "tag"),
    [
        ("gemma-3-Q4_K_M.gguf", "Q4_K_M"),
        ("gemma-3-UD-Q4_K_XL.gguf", "Q4_K_XL"),
        ("gemma-3-F16.gguf", "F16"),
        ("Q6_K/gemma-3-Q6_K-00001-of-00002.gguf", "Q6_K"),
        ("gemma.q5_0.gguf", "q5_0"),
        ("gemma-3-IQ4_XS.gguf", "IQ4_XS"),
    ],
)
def test_the_tag_of_a_file_is_its_type(file: str, tag: str) -> None:
    assert tag_of(FILES, file) == tag


def test_files_of_one_type_have_their_names_as_tags() -> None:
    files = ["small-Q4_0.gguf", "large-Q4_0.gguf"]
    assert [tag_of(files, file) for file in files] == ["small-Q4_0", "Q4_0"]
    assert tag_of(["a/x.gguf", "b/x.gguf"], "b/x.gguf") == "", "a tag that leads to another file"


WORDS = st.text(st.sampled_from("aQ4_K-.ib08F16/"), max_size=8)


@given(st.lists(WORDS.map(lambda word: f"m{word}.gguf"), max_size=6))
def test_a_tag_leads_back_to_its_file(files: list[str]) -> None:
    for file in model_files(files):
        tag = tag_of(files, file)
        assert not tag or file_with_tag(files, tag) == file


def test_parts_are_named_by_their_count() -> None:
    assert part_names("a/b-00001-of-00003.gguf") == [f"a/b-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    assert part_names("b.gguf") == ["b.gguf"]
    assert part_names("b-00001-of-99999.gguf") == ["b-00001-of-99999.gguf"], "no model has so many parts"
