"""The model every contender runs: a 135M Llama shape with random weights, as a checkpoint folder."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 49_152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 64,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10_000.0,
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "dtype": "float32",
    "torch_dtype": "float32",
}

SHAPE = "135M Llama shape: 30 layers, d_model 576, 9/3 heads of 64, d_ff 1536, vocabulary 49,152, tied, float32"

Shapes = dict[str, tuple[int, ...]]


def tensor_shapes(vocab: int, model: int, ffn: int, keys: int, layers: int) -> Shapes:
    """Every tensor of a tied Llama, as Hugging Face names them; queries are as wide as the model."""
    shapes: Shapes = {"model.embed_tokens.weight": (vocab, model), "model.norm.weight": (model,)}
    for layer in range(layers):
        name = f"model.layers.{layer}"
        shapes |= {
            f"{name}.input_layernorm.weight": (model,),
            f"{name}.self_attn.q_proj.weight": (model, model),
            f"{name}.self_attn.k_proj.weight": (keys, model),
            f"{name}.self_attn.v_proj.weight": (keys, model),
            f"{name}.self_attn.o_proj.weight": (model, model),
            f"{name}.post_attention_layernorm.weight": (model,),
            f"{name}.mlp.gate_proj.weight": (ffn, model),
            f"{name}.mlp.up_proj.weight": (ffn, model),
            f"{name}.mlp.down_proj.weight": (model, ffn),
        }
    return shapes


def write_checkpoint(folder: Path) -> None:
    """Writes config, weights and a tokenizer of one made-up word an id; speed does not depend on the words."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2))
    random = np.random.default_rng(0)
    weights = {
        name: np.ones(shape, np.float32)
        if len(shape) == 1
        else np.float32(0.02) * random.standard_normal(shape, dtype=np.float32)
        for name, shape in tensor_shapes(vocab=49_152, model=576, ffn=1536, keys=192, layers=30).items()
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    words = {f"w{id}": id for id in range(49_152)}
    Tokenizer(WordLevel(words, unk_token="w0")).save(str(folder / "tokenizer.json"))
    tokenizer = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "w1", "eos_token": "w2", "unk_token": "w0"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
