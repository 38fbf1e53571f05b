"""A checkpoint folder in Hugging Face format: config.json, safetensors weights, tokenizer.json."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import CheckpointError, SpecError
from models.families.config import Config, shown
from models.families.registry import family_of
from models.families.wrappers import text_decoder
from models.hub import id_of
from models.json_text import parse_json
from models.matching import untied
from models.other_formats import refuse_pointer, without_config, without_tokenizer
from models.purpose import refuse_adapter, refuse_other_heads
from models.quantized_file import has_head, is_quantized, open_quantized
from models.rebuilt import built_otherwise
from models.sources.matched import matched
from models.sources.quantized_folders.quantized_modules import quantized_parameters
from models.sources.source import Contents
from models.tensor_names import StoredTensors
from models.weight_files import tensors_in, weight_files

_NAMED = 8
"""Maximum number of keys in a note."""


@dataclass(frozen=True)
class Folder:
    """A folder. Its files are read when they are used."""

    path: Path

    @property
    def name(self) -> str:
        return id_of(self.path) or self.path.name

    def texts(self) -> Path:
        return self.path

    @property
    def graphs(self) -> Path:
        return self.path / "graphs"

    def notes(self) -> tuple[str, ...]:
        config = self._config()
        found = []
        if unread := family_of(config).unread(config):
            names = ", ".join(shown(key) for key in unread[:_NAMED])
            found.append(f"config.json has keys that this model family does not use; they have no effect: {names}")
        built, parts = built_otherwise(self.path)
        if parts:
            found.append(
                f"tokenizer.json is used as it stands, as in transformers 4; {built} of transformers 5 replaces its "
                f"{' and '.join(parts)}, so some texts have other tokens there"
            )
        return tuple(found)

    def without_tokenizer(self) -> str:
        return without_tokenizer(self.path)

    def read(self) -> Contents:
        refuse_adapter(self.path)
        if not (self.path / "config.json").is_file():
            raise CheckpointError(without_config(self.path))
        config = self._config()
        refuse_other_heads(self.path, config)
        family = family_of(config)
        stated = family.spec_of(config)
        files = weight_files(self.path, config.keys.get("transformers_weights"))
        if len(files) == 1 and is_quantized(files[0]):
            spec = family.spec_of(untied(config)) if has_head(files[0]) else stated
            return Contents(spec, *open_quantized(files[0], spec))
        tensors = StoredTensors(tensors_in(files), family.prefix)
        return matched(config, family, stated, tensors, files, quantized_parameters)

    def _config(self) -> Config:
        """The config; that of the text decoder if the model has other inputs too."""
        file = self.path / "config.json"
        return text_decoder(Config(file, _read_json(file)))


def _read_json(file: Path) -> dict[str, Any]:
    try:
        refuse_pointer(file)
        keys = parse_json(file.read_text(encoding="utf8"))
    except (ValueError, OSError) as error:
        raise SpecError(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(keys, dict):
        raise SpecError(f"{file} contains a {type(keys).__name__}, not a JSON object")
    return keys
