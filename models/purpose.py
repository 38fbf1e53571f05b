"""Folders that hold something other than a whole language model: adapters, and models with another head."""

import re
from pathlib import Path
from typing import Any

from models.errors import CheckpointError, SpecError
from models.families.config import Config, shown
from models.json_text import parse_json

_OTHER_HEAD = re.compile(r"For(?!CausalLM$)[A-Z]|Reward|Embedding|Classifi|Encoder")
"""What is in the name of a class of transformers whose head is not that of a language model."""


def refuse_adapter(folder: Path) -> None:
    """Fails on weights that are added to those of another model, and names that one.

    Raises:
        CheckpointError: the folder has an `adapter_config.json`, with or without a model beside it.
    """
    file = folder / "adapter_config.json"
    if not file.is_file():
        return
    keys = _table_in(file)
    kind, base = shown(keys.get("peft_type", "adapter")), shown(keys.get("base_model_name_or_path"))
    raise CheckpointError(
        f"{folder} holds an adapter ({kind}) for the model {base}: merge it into that model with peft "
        "(merge_and_unload, then save_pretrained) and open the result; if it is merged already, remove "
        "adapter_config.json"
    )


def refuse_other_heads(folder: Path, config: Config) -> None:
    """Fails on models that predict no next token: embedding, reward and classifying ones.

    Raises:
        SpecError: by the classes that the config names, or by the modules that sentence-transformers lists.
    """
    names = config.keys.get("architectures")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise config.refusal("architectures", "a list of names of classes")
    if names and all(_OTHER_HEAD.search(name) for name in names):
        raise SpecError(
            f"{config.path}: 'architectures' is {shown(names)}, whose head predicts no next token; Edge reads "
            "language models (...ForCausalLM)"
        )
    modules = folder / "modules.json"
    if modules.is_file() and b"Pooling" in modules.read_bytes():
        raise SpecError(
            f"{modules} makes an embedding model of this folder, which predicts no next token; open the language model "
            "that it was made from"
        )


def _table_in(file: Path) -> dict[str, Any]:
    """The keys of a JSON file; none where it cannot be read."""
    try:
        keys = parse_json(file.read_text(encoding="utf8"))
    except (ValueError, OSError):
        return {}
    return keys if isinstance(keys, dict) else {}
