"""Folders that hold no whole language model are refused by what they hold."""

import json
from pathlib import Path

import pytest

from models.checkpoint import open_checkpoint
from models.errors import CheckpointError, EdgeError, SpecError
from tests.reference import REFERENCES, write_reference

OTHER_HEADS = [
    "LlamaForSequenceClassification", "Qwen3ForTokenClassification", "Gemma2ForQuestionAnswering",
    "Qwen2ForRewardModel", "LlamaForCausalLMEagle3", "MistralEmbeddingModel",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_reference(REFERENCES["llama-grouped-tied"](), tmp_path)
    return tmp_path


def architectures(folder: Path, names: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"architectures": names}))


@pytest.mark.parametrize("name", OTHER_HEADS)
def test_another_head_is_refused_by_its_class(name: str, folder: Path) -> None:
    architectures(folder, [name])
    with pytest.raises(SpecError, match=f"{name}.*does not predict a next token"):
        open_checkpoint(folder)


@pytest.mark.parametrize("names", [None, [], ["LlamaForCausalLM"], ["LlamaModel"], ["GPT2LMHeadModel"], ["Mine"]])
def test_language_models_and_bare_decoders_open(names: object, folder: Path) -> None:
    architectures(folder, names)
    assert open_checkpoint(folder).spec.n_layers == 3


@pytest.mark.parametrize("names", ["LlamaForCausalLM", 3, [3], [["x"]], {"a": 1}])
def test_classes_that_are_no_list_of_names_are_refused(names: object, folder: Path) -> None:
    architectures(folder, names)
    with pytest.raises(SpecError, match=r"'architectures' is .*a list of class names"):
        open_checkpoint(folder)


def test_an_embedding_model_is_refused_though_its_class_is_that_of_a_language_model(folder: Path) -> None:
    modules = [{"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(SpecError, match=r"modules\.json declares an embedding model"):
        open_checkpoint(folder)


@pytest.mark.parametrize("beside_a_model", [True, False])
def test_an_adapter_is_refused_with_the_name_of_its_base(beside_a_model: bool, folder: Path) -> None:
    keys = {"peft_type": "LORA", "base_model_name_or_path": "meta-llama/Llama-3.2-1B"}
    (folder / "adapter_config.json").write_text(json.dumps(keys))
    if not beside_a_model:
        (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"'LORA'.*'meta-llama/Llama-3.2-1B'.*merge_and_unload"):
        open_checkpoint(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"base_model_name_or_path": [[[]]]}', "[" * 100_000, "\udcff"])
def test_an_adapter_that_cannot_be_read_is_an_adapter_still(text: str, folder: Path) -> None:
    (folder / "adapter_config.json").write_bytes(text.encode("utf8", "surrogateescape"))
    with pytest.raises(EdgeError, match="has an adapter"):
        open_checkpoint(folder)
