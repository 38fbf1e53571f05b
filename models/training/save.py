"""Writes a trained decoder as a Hugging Face folder: `python -m models.training.save fable-relu --run <folder>`."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from models.decoder import Decoder
from models.errors import EdgeError, SpecError
from models.families.gpt_neox import weights_of
from models.families.views import ThirdOfHeads
from models.spec import Activation, DecoderSpec, LayerNorm, Plain, Rotary, Sequential
from models.training.corpus import END_OF_TEXT, end_of_text
from models.training.train import open_state, read_log

ZOO = Path("models/zoo")
TRAINING_LOG = "training.jsonl"

_HIDDEN_ACT = {
    Activation.RELU: "relu",
    Activation.GELU: "gelu",
    Activation.GELU_TANH: "gelu_new",
    Activation.SILU: "silu",
}


def save_folder(decoder: Decoder, tokenizer: Tokenizer, folder: Path) -> None:
    """Writes all files that transformers and Edge need to run the decoder, with weights in float16."""
    end = end_of_text(tokenizer)
    config = config_of(decoder.spec, end)
    folder.mkdir(parents=True, exist_ok=True)
    ours = {name: weight.detach().float().numpy() for name, weight in decoder.state_dict().items()}
    stored = {name: weight.astype(np.float16) for name, weight in stored_weights(decoder.spec, ours).items()}
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)  # save_file makes it readable for its owner only
    _write(folder / "config.json", config)
    _write(folder / "generation_config.json", {"bos_token_id": end, "eos_token_id": end, "do_sample": False})
    special = {"bos_token": END_OF_TEXT, "eos_token": END_OF_TEXT, "model_max_length": decoder.spec.context}
    _write(folder / "tokenizer_config.json", special | {"tokenizer_class": "PreTrainedTokenizerFast"})
    tokenizer.save(str(folder / "tokenizer.json"))


def config_of(spec: DecoderSpec, end: int) -> dict[str, Any]:
    """The `config.json` of a spec that GPT-NeoX can express, with rotary sizes under the old and the new keys."""
    layer, attention = spec.layers[0], spec.layers[0].attention
    ffn, position, norm = layer.ffn, attention.position, layer.norm
    if not (isinstance(ffn, Plain) and isinstance(position, Rotary) and isinstance(norm, LayerNorm) and norm.bias):
        raise SpecError("GPT-NeoX has a plain FFN, rotary positions and LayerNorm; this spec has others")
    if any(other != layer for other in spec.layers) or attention.sharing > 1:
        raise SpecError("GPT-NeoX repeats one layer and has a key head for every query head; this spec differs")
    rotated = position.features / attention.head_dim
    return {
        "architectures": ["GPTNeoXForCausalLM"],
        "attention_bias": attention.qkv_bias,
        "bos_token_id": end,
        "dtype": "float16",
        "eos_token_id": end,
        "hidden_act": _HIDDEN_ACT[ffn.activation],
        "hidden_size": spec.d_model,
        "intermediate_size": ffn.d_ff,
        "layer_norm_eps": norm.eps,
        "max_position_embeddings": spec.context,
        "model_type": "gpt_neox",
        "num_attention_heads": attention.n_heads,
        "num_hidden_layers": spec.n_layers,
        "rope_parameters": {
            "partial_rotary_factor": rotated,
            "rope_theta": position.base,
            "rope_type": "default",
        },
        "rotary_emb_base": position.base,
        "rotary_pct": rotated,
        "tie_word_embeddings": spec.tied,
        "torch_dtype": "float16",
        "use_cache": True,
        "use_parallel_residual": not isinstance(layer.residual, Sequential),
        "vocab_size": spec.vocab_size,
    }


def stored_weights(spec: DecoderSpec, ours: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Every parameter under its GPT-NeoX name; query, key and value are interleaved by head in one tensor."""
    found: dict[str, NDArray[np.float32]] = {}
    places = weights_of(spec)
    for name, weight in ours.items():
        place = places[name]
        if isinstance(place.view, ThirdOfHeads):
            rest = weight.shape[1:]
            fused = found.setdefault(place.tensor, np.zeros((3 * weight.shape[0], *rest), np.float32))
            by_head = weight.reshape(spec.n_heads, -1, *rest)
            fused.reshape(spec.n_heads, 3, -1, *rest)[:, place.view.part] = by_head
        else:
            found[place.tensor] = weight
    return found


def _write(file: Path, keys: dict[str, Any]) -> None:
    file.write_text(json.dumps(keys, indent=2, sort_keys=True) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m models.training.save", description=__doc__)
    parser.add_argument("name", help="name of the bundled model")
    parser.add_argument("--run", type=Path, required=True, help="folder of the training run, finished or not")
    parser.add_argument("--work", type=Path, default=Path(".training/corpus"), help="folder of the tokenizer")
    parser.add_argument("--zoo", type=Path, default=ZOO)
    chosen = parser.parse_args(arguments)
    try:
        state = open_state(chosen.run)
        save_folder(state.decoder, Tokenizer.from_file(str(chosen.work / "tokenizer.json")), chosen.zoo / chosen.name)
        log = "".join(f"{json.dumps(line)}\n" for line in read_log(chosen.run) if line["step"] <= state.step)
        (chosen.zoo / chosen.name / TRAINING_LOG).write_text(log)
    except EdgeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
