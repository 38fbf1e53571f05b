"""Writes `genai_config.json`, which onnxruntime-genai reads in addition to the graph."""

from pathlib import Path
from typing import Any

from export.layout import groups_queries
from models.checkpoint import Checkpoint
from models.json_text import json_text
from models.spec import DecoderSpec
from models.special_tokens import config_keys
from models.tokenizer import open_tokenizer

CONFIG = "genai_config.json"


def genai_config(checkpoint: Checkpoint, graph: str) -> str:
    """The text of the file. Its model type is `decoder` for every family, since the graph holds all details."""
    spec, tokenizer = checkpoint.spec, open_tokenizer(checkpoint.source.texts())
    ends = list(tokenizer.stop_tokens) if tokenizer else []
    model = {
        "type": "decoder",
        "bos_token_id": _first_token(checkpoint.source.texts()),
        "eos_token_id": ends,
        "pad_token_id": ends[0] if ends else 0,
        "context_length": spec.context,
        "vocab_size": spec.vocab_size,
        "decoder": _decoder(spec, graph),
    }
    search = {
        "do_sample": False,
        "max_length": spec.context,
        "min_length": 0,
        "num_beams": 1,
        "num_return_sequences": 1,
        "past_present_share_buffer": groups_queries(spec),
        "repetition_penalty": 1.0,
        "temperature": 1.0,
        "top_k": 1,
        "top_p": 1.0,
    }
    return json_text({"model": model, "search": search}, indent=2) + "\n"


def _decoder(spec: DecoderSpec, graph: str) -> dict[str, Any]:
    attention = spec.layers[0].attention
    names = {"key": "past_key_values.%d.key", "value": "past_key_values.%d.value"}
    return {
        "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
        "filename": graph,
        "head_size": attention.head_dim,
        "hidden_size": spec.d_model,
        "num_attention_heads": attention.n_heads,
        "num_hidden_layers": spec.n_layers,
        "num_key_value_heads": attention.n_kv_heads,
        "inputs": {name: name for name in ("input_ids", "attention_mask", "position_ids")}
        | {f"past_{part}_names": name for part, name in names.items()},
        "outputs": {"logits": "logits"} | {f"present_{part}_names": f"present.%d.{part}" for part in names},
    }


def _first_token(folder: Path) -> int:
    """`bos_token_id` of the checkpoint's config, 0 if it has none; genai requires the key but does not use it."""
    token = config_keys(folder).get("bos_token_id")
    return token if isinstance(token, int) else 0
