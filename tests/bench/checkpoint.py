"""The models of the benchmarks: Llamas of known sizes with random weights, as checkpoint folders."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

Sizes = dict[str, tuple[int, ...]]

KINDS: dict[str, Any] = {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16}


def attention_tensors(layer: str, model: int, keys: int) -> Sizes:
    """The norms of a layer, and the matrices of its attention; `keys` are the features of all key heads."""
    return {
        f"{layer}.input_layernorm.weight": (model,),
        f"{layer}.self_attn.q_proj.weight": (model, model),
        f"{layer}.self_attn.k_proj.weight": (keys, model),
        f"{layer}.self_attn.v_proj.weight": (keys, model),
        f"{layer}.self_attn.o_proj.weight": (model, model),
        f"{layer}.post_attention_layernorm.weight": (model,),
    }


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of a Llama with a tied head, and with queries as wide as d_model.

    Attributes:
        name: A short name, such as `135M Llama shape`.
        kind: Number format of the stored weights, one of `KINDS`.
        rotary: Keys of `config.json` for rotary positions.
    """

    name: str
    vocab_size: int
    d_model: int
    d_ff: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    context: int
    kind: str = "float32"
    rotary: dict[str, Any] = field(default_factory=lambda: {"rope_theta": 10_000.0})

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.n_layers} layers, d_model {self.d_model:,}, {self.n_heads}/{self.n_kv_heads} heads of "
            f"{self.head_dim}, d_ff {self.d_ff:,}, vocabulary {self.vocab_size:,}, tied, {self.kind}"
        )

    @property
    def head_dim(self) -> int:
        return self.d_model // self.n_heads

    @property
    def tensors(self) -> Sizes:
        """Every tensor, by its Hugging Face name."""
        vocab, model, ffn, keys = self.vocab_size, self.d_model, self.d_ff, self.n_kv_heads * self.head_dim
        sizes: Sizes = {"model.embed_tokens.weight": (vocab, model), "model.norm.weight": (model,)}
        for layer in range(self.n_layers):
            name = f"model.layers.{layer}"
            sizes |= attention_tensors(name, model, keys) | {
                f"{name}.mlp.gate_proj.weight": (ffn, model),
                f"{name}.mlp.up_proj.weight": (ffn, model),
                f"{name}.mlp.down_proj.weight": (model, ffn),
            }
        return sizes

    @property
    def read_tensors(self) -> Sizes:
        """The tensors that a token reads."""
        return self.tensors

    @property
    def float32_bytes(self) -> int:
        """Bytes of all weights, as float32."""
        return 4 * sum(prod(size) for size in self.tensors.values())

    @property
    def config(self) -> dict[str, Any]:
        """The content of `config.json`."""
        return {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": self.vocab_size,
            "hidden_size": self.d_model,
            "intermediate_size": self.d_ff,
            "num_hidden_layers": self.n_layers,
            "num_attention_heads": self.n_heads,
            "num_key_value_heads": self.n_kv_heads,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "max_position_embeddings": self.context,
            "rms_norm_eps": 1e-5,
            **self.rotary,
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": True,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "dtype": self.kind,
            "torch_dtype": self.kind,
        }


LLAMA_135M = Shape(
    name="135M Llama shape",
    vocab_size=49_152,
    d_model=576,
    d_ff=1536,
    n_layers=30,
    n_heads=9,
    n_kv_heads=3,
    context=2048,
)

LLAMA_1B = Shape(
    name="1.2B Llama shape",
    vocab_size=128_256,
    d_model=2048,
    d_ff=8192,
    n_layers=16,
    n_heads=32,
    n_kv_heads=8,
    context=131_072,
    kind="bfloat16",
    rotary={
        "rope_theta": 500_000.0,
        "rope_scaling": {
            "rope_type": "llama3",
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        },
    },
)
"""The shape of Llama 3.2 1B."""

SMALL = Shape(
    name="small shape",
    vocab_size=64,
    d_model=96,
    d_ff=160,
    n_layers=2,
    n_heads=3,
    n_kv_heads=1,
    context=64,
)
"""For tests of the benchmarks."""


def random_weights(shape: Shape) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """Every tensor, one at a time; all calls give the same values."""
    random = np.random.default_rng(0)
    for name, size in shape.tensors.items():
        if len(size) == 1:
            yield name, np.ones(size, KINDS[shape.kind])
        else:
            weights = random.standard_normal(size, dtype=np.float32)
            weights *= np.float32(0.02)
            yield name, weights.astype(KINDS[shape.kind], copy=False)


def write_checkpoint(folder: Path, shape: Shape = LLAMA_135M) -> None:
    """Writes config, weights and a tokenizer with one made-up word per id; speed does not depend on the words."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(shape.config, indent=2))
    save_file(dict(random_weights(shape)), folder / "model.safetensors", {"format": "pt"})
    words = {f"w{id}": id for id in range(shape.vocab_size)}
    Tokenizer(WordLevel(words, unk_token="w0")).save(str(folder / "tokenizer.json"))
    tokenizer = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "w1", "eos_token": "w2", "unk_token": "w0"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
