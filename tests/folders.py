"""A checkpoint folder small enough to write in a test: a random Llama over bytes, with its tokenizer."""

import json
from pathlib import Path

import numpy as np
import tokenizers
from safetensors.numpy import save_file
from tokenizers import decoders, models, pre_tokenizers

_CONFIG = {
    "model_type": "llama",
    "vocab_size": 257,
    "hidden_size": 32,
    "intermediate_size": 88,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
    "eos_token_id": 256,
}


def write_byte_llama(folder: Path) -> Path:
    """Writes config, weights and a tokenizer whose ids 0 to 255 are bytes and 256 ends a text."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(_CONFIG), encoding="utf8")
    save_file(_weights(), folder / "model.safetensors")
    _tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def _weights() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)

    def draw(rows: int, columns: int, size: float) -> np.ndarray:
        return (size * random.standard_normal((rows, columns))).astype(np.float32)

    weights = {"model.embed_tokens.weight": draw(257, 32, 0.5), "model.norm.weight": np.ones(32, np.float32)}
    for layer in range(2):
        name = f"model.layers.{layer}"
        for part, rows, columns in (
            ("self_attn.q_proj", 32, 32),
            ("self_attn.k_proj", 16, 32),
            ("self_attn.v_proj", 16, 32),
            ("self_attn.o_proj", 32, 32),
            ("mlp.gate_proj", 88, 32),
            ("mlp.up_proj", 88, 32),
            ("mlp.down_proj", 32, 88),
        ):
            weights[f"{name}.{part}.weight"] = draw(rows, columns, columns**-0.5)
        weights[f"{name}.input_layernorm.weight"] = np.ones(32, np.float32)
        weights[f"{name}.post_attention_layernorm.weight"] = np.ones(32, np.float32)
    return weights


def _tokenizer() -> tokenizers.Tokenizer:
    """Byte-level, without a single merge; its alphabet is put in the order of the bytes."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    alphabet = {byte: chr(byte) for byte in shown} | {byte: chr(256 + index) for index, byte in enumerate(hidden)}
    bytewise = tokenizers.Tokenizer(models.BPE(vocab={alphabet[byte]: byte for byte in range(256)}, merges=[]))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bytewise.decoder = decoders.ByteLevel()
    bytewise.add_special_tokens(["<|endoftext|>"])
    return bytewise
