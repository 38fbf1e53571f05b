"""Tiny random checkpoints written by `transformers`, the reference that nobody here wrote."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import GPT2Config, GPTNeoXConfig, LlamaConfig, PretrainedConfig

_LLAMA = {"vocab_size": 96, "hidden_size": 32, "intermediate_size": 88, "num_hidden_layers": 3, "pad_token_id": None}
_NEOX = {"vocab_size": 96, "hidden_size": 32, "intermediate_size": 128, "num_hidden_layers": 2}
_GPT2 = {"vocab_size": 96, "n_layer": 2, "n_positions": 64}

REFERENCES: dict[str, Callable[[], PretrainedConfig]] = {
    "llama-grouped-tied": lambda: LlamaConfig(
        **_LLAMA, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True
    ),
    "llama-full-heads-untied": lambda: LlamaConfig(**_LLAMA, num_attention_heads=2, num_key_value_heads=2),
    "llama-biases-explicit-head-dim-gelu": lambda: LlamaConfig(
        **_LLAMA, num_attention_heads=4, num_key_value_heads=1, head_dim=16, attention_bias=True, mlp_bias=True,
        hidden_act="gelu", rope_parameters={"rope_type": "default", "rope_theta": 500_000.0},
    ),
    "llama-odd-sizes-relu": lambda: LlamaConfig(
        **_LLAMA | {"vocab_size": 97, "hidden_size": 36, "intermediate_size": 43},
        num_attention_heads=3, num_key_value_heads=3, hidden_act="relu",
    ),
    "gpt2-tied": lambda: GPT2Config(**_GPT2, n_embd=32, n_head=4),
    "gpt2-untied-odd-sizes": lambda: GPT2Config(
        **_GPT2 | {"vocab_size": 91}, n_embd=30, n_head=3, n_inner=50, tie_word_embeddings=False
    ),
    "neox-partial-rotary-parallel": lambda: GPTNeoXConfig(**_NEOX, num_attention_heads=2, rotary_pct=0.25),
    "neox-full-rotary-sequential-relu": lambda: GPTNeoXConfig(
        **_NEOX, num_attention_heads=4, rotary_pct=1.0, use_parallel_residual=False, hidden_act="relu"
    ),
    "neox-tied-without-attention-bias": lambda: GPTNeoXConfig(
        **_NEOX, num_attention_heads=2, rotary_pct=0.5, attention_bias=False, tie_word_embeddings=True
    ),
}  # fmt: skip
"""Configs by what is special about each."""


def write_reference(config: PretrainedConfig, folder: Path, **options: object) -> transformers.PreTrainedModel:
    """Writes a random checkpoint as `transformers` does; returns the model behind it.

    Weights are drawn larger than an untrained model's, so that logits and attention vary, biases included.
    """
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval().float()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            centre = (
                1.0 if ("norm" in name and name.endswith("weight")) or (".ln_" in name and "weight" in name) else 0.0
            )
            parameter.copy_(centre + 0.15 * torch.randn_like(parameter))
    model.save_pretrained(folder, **options)
    return model


def reference_logits(model: transformers.PreTrainedModel, ids: list[int]) -> np.ndarray:
    """(token, vocab) logits of the reference, teacher-forced."""
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].float().numpy()
