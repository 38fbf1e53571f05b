"""A GGUF file, the format of llama.cpp, Ollama and LM Studio: config, weights and tokenizer in one file."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from models.atomic_folder import atomic_folder
from models.cache_folder import MOVED, cache_folder, cache_key
from models.errors import CheckpointError, SpecError
from models.families.config import Config
from models.families.family import Family
from models.families.registry import FAMILIES
from models.json_text import json_text
from models.safetensors_file import TensorPlace
from models.sources.gguf.config import config_of
from models.sources.gguf.file import GgufFile, open_gguf
from models.sources.gguf.keys import GgufKeys
from models.sources.gguf.matrices import GgufMatrices
from models.sources.gguf.names import names_of
from models.sources.gguf.tokenizer import no_text, text_files
from models.sources.matched import matched
from models.sources.source import Contents
from models.tensor_names import StoredTensors

FORMAT = 1
"""Increases when the texts of a file would be others."""

_OTHER_USES = {
    "clip": "the image input of a model (mmproj); name the file of the model itself",
    "adapter": "an adapter; merge it into its model with llama.cpp's llama-export-lora, and open the result",
    "imatrix": "statistics for quantization; name the file of the model itself",
}


@dataclass(frozen=True)
class Gguf:
    """A GGUF file; of a split one any part."""

    path: Path

    @property
    def name(self) -> str:
        """The name of the file; the name inside it if the file is named by a hash, as in the folder of Ollama."""
        if self.path.suffix.lower() == ".gguf":
            return self.path.name
        said = self._opened.keys.get("general.name")
        return said if isinstance(said, str) and said else self.path.name

    @property
    def graphs(self) -> Path:
        return self.path.parent / "graphs"

    def notes(self) -> tuple[str, ...]:
        why = no_text(self._opened.keys)
        return (f"only token ids can be run: {why}",) if why else ()

    def texts(self) -> Path:
        """The texts, made from the keys once and cached: a large vocabulary takes seconds."""
        folder = cache_folder("texts") / cache_key(self._opened.files, FORMAT)
        if not (folder / "config.json").is_file():
            with atomic_folder(folder, MOVED) as written:
                for name, text in self._texts().items():
                    (written / name).write_text(text, encoding="utf8")
        return folder

    def without_tokenizer(self) -> str:
        return f"{self.path}: {no_text(self._opened.keys) or 'it has no tokenizer'}"

    def read(self) -> Contents:
        opened, (config, family) = self._opened, self._config()
        places = {
            name: TensorPlace(one.file, one.kind, one.shape, one.offset_bytes) for name, one in opened.tensors.items()
        }
        tensors = StoredTensors(places, family.prefix)
        quantized = GgufMatrices(opened.tensors)
        return matched(config, family, family.spec_of(config), tensors, opened.files, quantized)

    @cached_property
    def _opened(self) -> GgufFile:
        return open_gguf(self.path)

    def _config(self) -> tuple[Config, Family]:
        """The config with the keys that its family reads, and the family with the names of this file's tensors."""
        opened = self._opened
        kind = opened.keys.get("general.type", opened.keys.get("general.architecture"))
        kind = opened.keys.get("general.architecture") if kind == "model" else kind
        if (other := _OTHER_USES.get(str(kind))) is not None:
            raise CheckpointError(f"{self.path} is {other}")
        keys = GgufKeys(self.path, opened.keys, {name: tensor.shape for name, tensor in opened.tensors.items()})
        stated = config_of(keys, self._numbers)
        family = FAMILIES[stated["model_type"]]
        known = {"model_type", *family.defaults}
        config = Config(self.path, {key: value for key, value in stated.items() if key in known})
        return config, Family(**vars(family) | {"weights_of": names_of(keys), "prefix": ""})

    def _numbers(self, tensor: str) -> list[float]:
        """The numbers of a small float32 tensor."""
        one = self._opened.tensors[tensor]
        if one.kind != "F32" or len(one.shape) != 1:
            raise SpecError(f"'{tensor}' in {self.path} is {one.kind} {one.shape}; it must be a list of F32")
        return [float(number) for number in one.rows().view(np.float32).reshape(-1)]

    def _texts(self) -> dict[str, str]:
        config, _ = self._config()
        keys, rows = self._opened.keys, config.keys["vocab_size"]
        tokens = keys.get("tokenizer.ggml.tokens")
        if isinstance(tokens, list) and len(tokens) > rows:
            raise CheckpointError(
                f"{self.path} has {len(tokens)} tokens, and 'token_embd.weight' has rows for {rows}; download the file "
                "again, or another one of this model"
            )
        ids = {f"{role}_token_id": keys.get(f"tokenizer.ggml.{role}_token_id") for role in ("bos", "eos")}
        stated = dict(config.keys) | {role: id for role, id in ids.items() if isinstance(id, int)}
        return {**text_files(keys, str(self.path)), "config.json": json_text(stated, indent=2) + "\n"}
