"""Models with image input: their text decoder gives the logits that transformers gives without an image."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoConfig, AutoModelForImageTextToText, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

import edge
from models.checkpoint import open_checkpoint
from models.errors import SpecError
from models.families.registry import FAMILIES, family_of
from models.families.wrappers import WRAPPERS, text_decoder
from models.spec import HeadNorm, LogScale, Rotary, YarnScaling
from models.special_tokens import config_keys
from tests.models.families.configs import config_of
from tests.reference import reference_logits

IDS = [3, 1, 41, 59, 26, 5, 35, 89, 79, 32, 38, 46, 26, 43]

_TEXT = {
    "vocab_size": 96, "hidden_size": 32, "intermediate_size": 44, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "bos_token_id": 0, "eos_token_id": 7, "pad_token_id": None,
}  # fmt: skip
_IMAGE = {
    "hidden_size": 16, "intermediate_size": 20, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28,
    "patch_size": 14,
}  # fmt: skip
_PATCHES = {"depth": 1, "num_heads": 2, "patch_size": 14, "hidden_size": 16, "intermediate_size": 20}
_QWEN = {"image_token_id": 95, "video_token_id": 94, "vision_start_token_id": 93, "vision_end_token_id": 92}
_YARN = {
    "rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 8,
    "llama_4_scaling_beta": 0.5,
}  # fmt: skip


def _sections(*sections: int, **more: Any) -> dict[str, Any]:
    return {"rope_type": "default", "rope_theta": 1e4, "mrope_section": list(sections)} | more


CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "gemma3": ("gemma3", {
        "text_config": _TEXT | {"head_dim": 16, "sliding_window": 4}, "vision_config": _IMAGE,
        "mm_tokens_per_image": 4, "image_token_index": 95, "boi_token_index": 94, "eoi_token_index": 93,
    }),
    "mistral3": ("mistral3", {
        "text_config": _TEXT | {"model_type": "mistral", "head_dim": 16, "sliding_window": None},
        "vision_config": _IMAGE | {"model_type": "pixtral", "head_dim": 8}, "image_token_index": 95,
        "tie_word_embeddings": False,
    }),
    "mistral3 around ministral3": ("mistral3", {
        "text_config": _TEXT | {
            "model_type": "ministral3", "head_dim": 16, "rope_parameters": _YARN, "tie_word_embeddings": False,
        },
        "vision_config": _IMAGE | {"model_type": "pixtral", "head_dim": 8}, "image_token_index": 95,
        "tie_word_embeddings": True,
    }),
    "qwen2_vl": ("qwen2_vl", _QWEN | {
        "text_config": _TEXT | {"rope_parameters": _sections(2, 1, 1)},
        "vision_config": {"depth": 1, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "patch_size": 14},
    }),
    "qwen2_5_vl": ("qwen2_5_vl", _QWEN | {
        "text_config": _TEXT | {
            "rope_parameters": _sections(2, 1, 1), "use_sliding_window": True, "sliding_window": 4,
            "max_window_layers": 1,
        },
        "vision_config": _PATCHES | {"out_hidden_size": 32}, "tie_word_embeddings": True,
    }),
    "qwen3_vl": ("qwen3_vl", _QWEN | {
        "text_config": _TEXT | {
            "head_dim": 16, "num_key_value_heads": 1,
            "rope_parameters": _sections(4, 2, 2, mrope_interleaved=True),
        },
        "vision_config": _PATCHES | {"out_hidden_size": 32, "deepstack_visual_indexes": [0]},
    }),
}  # fmt: skip


def write_wrapper(name: str, folder: Path) -> PreTrainedModel:
    """Writes a random model with image input as transformers does; returns the model behind it."""
    model_type, keys = CONFIGS[name]
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **json.loads(json.dumps(keys)))
    model = AutoModelForImageTextToText.from_config(config).eval().float()
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            center = 1.0 if "norm" in parameter_name and parameter_name.endswith("weight") else 0.0
            parameter.copy_(center + 0.15 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    return model


def _changed(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Path:
    file = folder / "config.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    return folder


def _difference(folder: Path, want: np.ndarray, engine: str = "torch") -> float:
    with edge.load(folder, engine=engine) as model:
        return float(np.abs(model.logits(IDS) - want).max())


@pytest.mark.parametrize("engine", ["torch", "onnx", "mlx"])
@pytest.mark.parametrize("name", CONFIGS)
def test_the_text_decoder_gives_the_logits_of_transformers(name: str, engine: str, tmp_path: Path) -> None:
    want = reference_logits(write_wrapper(name, tmp_path), IDS)
    worst = _difference(tmp_path, want, engine)
    assert worst < 2e-4, f"{name} on {engine} leaves transformers by {worst:.2g}"
    assert not open_checkpoint(tmp_path).source.notes(), "keys of the image input are none of the decoder's"
    assert config_keys(tmp_path)["eos_token_id"] == 7, "the token that ends a text is stated inside"


def test_every_wrapper_is_tried() -> None:
    assert {model_type for model_type, _ in CONFIGS.values()} == set(WRAPPERS)
    assert {wrapper.family for wrapper in WRAPPERS.values()} <= set(FAMILIES)


@pytest.mark.parametrize("prefix", ["language_model.model.", "model.language_model.", "model.", "language_model.", ""])
@pytest.mark.parametrize("head", ["lm_head.weight", "language_model.lm_head.weight"])
def test_every_prefix_of_older_and_newer_files_is_read(prefix: str, head: str, tmp_path: Path) -> None:
    want = reference_logits(write_wrapper("mistral3", tmp_path), IDS)
    file = tmp_path / "model.safetensors"
    tensors = {
        name.replace("language_model.lm_head.weight", head).replace("language_model.model.", prefix): tensor
        for name, tensor in load_file(file).items()
    }
    save_file(tensors, file, {"format": "pt"})
    assert _difference(tmp_path, want) < 2e-4


def test_the_first_files_of_qwen_have_all_keys_side_by_side(tmp_path: Path) -> None:
    want = reference_logits(write_wrapper("qwen2_vl", tmp_path), IDS)
    mrope = {"rope_theta": 1e4, "rope_scaling": {"type": "mrope", "mrope_section": [2, 1, 1]}}
    _changed(
        tmp_path,
        lambda keys: (
            {key: value for key, value in keys.items() if key != "text_config"}
            | {key: value for key, value in keys["text_config"].items() if key != "rope_parameters"}
            | mrope
            | {"model_type": "qwen2_vl"}
        ),
    )
    assert _difference(tmp_path, want) < 2e-4
    assert not open_checkpoint(tmp_path).source.notes()


@pytest.mark.parametrize(
    ("name", "outside", "inside", "tied"),
    [
        ("mistral3", {}, {}, True),
        ("mistral3", {"tie_word_embeddings": False}, {"tie_word_embeddings": True}, False),
        ("mistral3", {"tie_word_embeddings": True}, {"tie_word_embeddings": False}, True),
        ("gemma3", {}, {"tie_word_embeddings": False}, True),
        ("gemma3", {"tie_word_embeddings": None}, {}, False),
        ("qwen2_5_vl", {}, {}, False),
        ("qwen2_5_vl", {}, {"tie_word_embeddings": True}, True),
        ("qwen3_vl", {}, {"tie_word_embeddings": True}, False),
    ],
)
def test_the_whole_model_says_whether_embedding_and_head_are_tied(
    name: str, outside: dict[str, Any], inside: dict[str, Any], tied: bool
) -> None:
    keys = {"model_type": name, "text_config": _TEXT | inside} | outside
    config = text_decoder(config_of(keys))
    assert family_of(config).spec_of(config).tied is tied


@pytest.mark.parametrize("name", [name for name, wrapper in WRAPPERS.items() if not wrapper.chooses])
def test_sizes_that_are_left_out_are_those_of_the_class(name: str) -> None:
    """The text config of the class, spelled out, is the decoder that Edge reads from an empty one."""
    spelled = CONFIG_MAPPING[name]().text_config.to_dict()
    empty, stated = (text_decoder(config_of({"model_type": name, "text_config": inside})) for inside in ({}, spelled))
    assert family_of(empty).spec_of(empty) == family_of(stated).spec_of(stated)


def test_the_text_config_chooses_its_family_where_the_class_lets_it(tmp_path: Path) -> None:
    write_wrapper("mistral3 around ministral3", tmp_path)
    attention = open_checkpoint(tmp_path).spec.layers[0].attention
    assert attention.query_scale == LogScale(beta=0.5, original=8)
    assert isinstance(attention.position, Rotary) and isinstance(attention.position.scaling, YarnScaling)
    config = text_decoder(config_of({"model_type": "qwen3_vl", "text_config": _TEXT | {"model_type": "other"}}))
    assert isinstance(family_of(config).spec_of(config).layers[0].attention.head_norm, HeadNorm)


@pytest.mark.parametrize(
    ("keys", "expected_message"),
    [
        ({"model_type": "gemma3"}, "no 'text_config'"),
        ({"model_type": "gemma3", "text_config": [1]}, "'text_config' is [1]"),
        ({"model_type": "mistral3", "text_config": {"model_type": "deepseek_v3"}}, "latent attention"),
        ({"model_type": "gemma3", "text_config": {"use_bidirectional_attention": True}}, "attention to later tokens"),
        ({"model_type": "llava", "text_config": {"model_type": "llama"}}, "does not support model_type 'llava'"),
    ],
)
def test_a_text_config_that_edge_cannot_run_is_refused_by_name(keys: dict[str, Any], expected_message: str) -> None:
    with pytest.raises(SpecError) as refused:
        config = text_decoder(config_of(keys))
        family_of(config).spec_of(config)
    assert expected_message in str(refused.value)


def test_another_head_of_a_model_with_images_is_refused(tmp_path: Path) -> None:
    write_wrapper("gemma3", tmp_path)
    _changed(tmp_path, lambda keys: keys | {"architectures": ["Gemma3ForSequenceClassification"]})
    with pytest.raises(SpecError, match="whose head does not predict a next token"):
        open_checkpoint(tmp_path)
