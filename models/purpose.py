"""Refuses folders without a complete language model: adapters, and models with another head."""

import re
from pathlib import Path
from typing import Any

from models.errors import CheckpointError, SpecError
from models.families.config import Config, shown
from models.json_text import parse_json

_OTHER_HEAD = re.compile(r"For(?!CausalLM$)[A-Z]|Reward|Embedding|Classifi|Encoder")
"""Matches names of transformers classes whose head is not a language model head."""


def refuse_adapter(folder: Path) -> None:
    """Refuses an adapter, whose weights are added to those of a base model.

    Raises:
        CheckpointError: the folder has an `adapter_config.json`; the message names the base model.
    """
    file = folder / "adapter_config.json"
    if not file.is_file():
        return
    keys = _table_in(file)
    kind, base = shown(keys.get("peft_type", "adapter")), shown(keys.get("base_model_name_or_path"))
    raise CheckpointError(
        f"{folder} has an adapter ({kind}) for the model {base}; merge it into that model with peft "
        "(merge_and_unload, then save_pretrained) and open the result. If it is merged already, delete "
        "adapter_config.json"
    )


def refuse_other_heads(folder: Path, config: Config) -> None:
    """Refuses models that do not predict a next token: embedding, reward and classification models.

    Raises:
        SpecError: the config's class names or the modules of sentence-transformers show such a model.
    """
    names = config.keys.get("architectures")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise config.refusal("architectures", "a list of class names")
    if names and all(_OTHER_HEAD.search(name) for name in names):
        raise SpecError(
            f"{config.path}: 'architectures' is {shown(names)}, whose head does not predict a next token; Edge reads "
            "language models (...ForCausalLM)"
        )
    modules = folder / "modules.json"
    if modules.is_file() and b"Pooling" in modules.read_bytes():
        raise SpecError(
            f"{modules} declares an embedding model, which does not predict a next token; open the language model "
            "that it is based on"
        )


def _table_in(file: Path) -> dict[str, Any]:
    """The keys of a JSON file; empty if it cannot be read."""
    try:
        keys = parse_json(file.read_text(encoding="utf8"))
    except (ValueError, OSError):
        return {}
    return keys if isinstance(keys, dict) else {}
