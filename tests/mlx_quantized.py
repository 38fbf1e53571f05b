"""Checkpoints as mlx-lm writes them when it quantizes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

mx = pytest.importorskip("mlx.core")


ROUTERS = (".mlp.gate", ".shared_expert_gate")
"""Modules that mlx-lm quantizes in 8 bits, whatever the others have."""


def quantize(folder: Path, bits: int, group: int = 32) -> None:
    """What `mlx_lm.convert -q` does: every matrix whose width fills groups; scales and biases in half precision."""
    own: dict[str, dict[str, int]] = {}
    tensors = load_file(folder / "model.safetensors")
    written: dict[str, np.ndarray] = {}
    for name, tensor in tensors.items():
        if tensor.ndim < 2 or tensor.shape[-1] % group or not name.endswith(".weight"):
            written[name] = tensor
            continue
        module = name.removesuffix(".weight")
        if module.endswith(ROUTERS):
            own[module] = {"group_size": group, "bits": 8}
        codes, scales, biases = mx.quantize(mx.array(tensor), group_size=group, bits=8 if module in own else bits)
        written |= {name: np.array(codes)} | {
            f"{module}.{part}": np.array(value.astype(mx.float16))
            for part, value in (("scales", scales), ("biases", biases))
        }
    save_file(written, folder / "model.safetensors", {"format": "mlx"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization"] = config["quantization_config"] = {"group_size": group, "bits": bits} | own
    (folder / "config.json").write_text(json.dumps(config))


def by_mlx_lm(folder: Path, out: Path, **options: Any) -> Any:
    """Writes a checkpoint as `mlx_lm.convert -q` does, and returns mlx-lm's model."""
    utils = pytest.importorskip("mlx_lm.utils", reason="mlx-lm comes with the extra 'bench'")
    model, config = utils.quantize_model(*utils.load_model(folder), **options)
    out.mkdir()
    utils.save_model(out, model)
    utils.save_config(config, out / "config.json")
    return model


def change_config(folder: Path, **keys: object) -> None:
    """Replaces the keys of quantization in a config."""
    config = json.loads((folder / "config.json").read_text())
    del config["quantization"], config["quantization_config"]
    (folder / "config.json").write_text(json.dumps(config | keys))
