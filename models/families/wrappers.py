"""Configs of models with image or audio input: their text decoder is in `text_config`, and only it is run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from models.families.config import Config

_OF_THE_WHOLE = ("quantization", "quantization_config", "transformers_weights")
"""Keys of the whole model that apply to its text decoder."""

_ROPE_KEYS = ("rope_scaling", "rope_parameters")


@dataclass(frozen=True, kw_only=True)
class Wrapper:
    """How the config of a model with several inputs describes its text decoder.

    Attributes:
        family: The family of the text decoder.
        chooses: Whether `model_type` in `text_config` chooses another family.
        tied: Default of `tie_word_embeddings`, which the whole model states, not `text_config`.
        tied_inside: Whether `tie_word_embeddings` in `text_config` counts too.
        flat: Whether older files state the decoder next to the image input, without `text_config`.
        defaults: Defaults of the text decoder that differ from those of its family.
    """

    family: str
    chooses: bool = False
    tied: bool = False
    tied_inside: bool = False
    flat: bool = False
    defaults: Mapping[str, Any] = field(default_factory=dict)


_QWEN2_VL = Wrapper(
    family="qwen2",
    tied_inside=True,
    flat=True,
    defaults={
        "vocab_size": 152_064,
        "hidden_size": 8192,
        "intermediate_size": 29568,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "rms_norm_eps": 1e-5,
        "max_window_layers": 80,
        "rope_theta": 1_000_000.0,
    },
)

WRAPPERS: Mapping[str, Wrapper] = {
    "gemma3": Wrapper(family="gemma3_text", tied=True),
    "mistral3": Wrapper(family="mistral", chooses=True, tied=True),
    "qwen2_vl": _QWEN2_VL,
    "qwen2_5_vl": _QWEN2_VL,
    "qwen3_vl": Wrapper(family="qwen3", defaults={"max_position_embeddings": 128_000, "rope_theta": 500_000.0}),
}
"""Wrappers by their `model_type`."""


def text_decoder(config: Config) -> Config:
    """The config of the text decoder; the same config if it does not wrap one."""
    name = config.keys.get("model_type")
    wrapper = WRAPPERS.get(name) if isinstance(name, str) else None
    if wrapper is None:
        return config
    flat = wrapper.flat and config.keys.get("text_config") is None
    if not flat:
        config.stated("text_config")
    inside = _without_images(config.keys) if flat else config.table("text_config").keys
    chosen = inside.get("model_type") if wrapper.chooses else None
    tied = config.keys.get("tie_word_embeddings", wrapper.tied)
    if wrapper.tied_inside and not tied:
        tied = inside.get("tie_word_embeddings", False)
    keys = {
        **wrapper.defaults,
        **inside,
        **{key: config.keys[key] for key in _OF_THE_WHOLE if key in config.keys},
        **{key: _by_one_position(inside[key]) for key in _ROPE_KEYS if key in inside},
        "model_type": wrapper.family if chosen is None else chosen,
        "tie_word_embeddings": False if tied is None else tied,
        "architectures": _language_models(config.keys.get("architectures")),
    }
    return Config(config.path, keys)


def _without_images(keys: Mapping[str, Any]) -> Mapping[str, Any]:
    return {key: value for key, value in keys.items() if not key.startswith(("vision_", "image_", "video_"))}


def _by_one_position(table: object) -> object:
    """Rotary positions of text: `mrope` has one position per axis of an image, which are equal for text."""
    if not isinstance(table, dict):
        return table
    return {key: "default" if key in ("type", "rope_type") and kind == "mrope" else kind for key, kind in table.items()}


def _language_models(names: object) -> object:
    """The class names without those that generate text from text and images, whose head is a language model's."""
    if not isinstance(names, list):
        return names
    return [name for name in names if not (isinstance(name, str) and name.endswith("ForConditionalGeneration"))]
