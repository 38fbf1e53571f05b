"""Opens checkpoint folders in Hugging Face format: config, weights under Edge's names, all shapes checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import CheckpointError, SpecError
from models.families.config import Config
from models.families.registry import family_of
from models.families.wrappers import text_decoder
from models.hub import id_of
from models.json_text import parse_json
from models.matching import as_tied, match, untied
from models.mlx_format import quantized_parameters
from models.other_formats import of_file, refuse_pointer, without_config
from models.parameters import parameter_shapes, parameters_of
from models.purpose import refuse_adapter, refuse_other_heads
from models.quantized import QuantizedMatrices
from models.quantized_file import has_head, is_quantized, open_quantized
from models.spec import DecoderSpec
from models.tensor_names import StoredTensors
from models.weight_files import tensors_in, weight_files
from models.weights import DenseWeights, StoredWeights


@dataclass(frozen=True)
class Checkpoint:
    """The spec and the weights of a decoder.

    Attributes:
        weights: Parameters by the names of `models.parameters.parameter_shapes`.
        quantized: The quantized matrices that engines multiply with as they are, so without routers; `weights` has
            the dequantized values of all.
    """

    folder: Path
    spec: DecoderSpec
    weights: Mapping[str, NDArray[np.generic]]
    quantized: QuantizedMatrices = field(default_factory=QuantizedMatrices)

    @property
    def files(self) -> tuple[Path, ...]:
        """The safetensors files of the weights; empty if the weights come from memory."""
        return self.weights.files if isinstance(self.weights, StoredWeights | DenseWeights) else ()

    @property
    def name(self) -> str:
        """The model's id on the hub, or the name of the folder."""
        return id_of(self.folder) or self.folder.name

    @cached_property
    def stored_bytes(self) -> int:
        """Bytes of all parameters on disk; tied parameters count once."""
        if isinstance(self.weights, StoredWeights):
            return self.weights.stored_bytes(parameter_shapes(self.spec))
        if isinstance(self.weights, DenseWeights):
            others = self.weights.others.stored_bytes(parameter_shapes(self.spec))
            return self.weights.quantized.stored_bytes + others
        return sum(array.nbytes for array in self.weights.values())

    @property
    def float_kinds(self) -> tuple[str, ...]:
        """The number types of the parameters that are not quantized."""
        floats = self.weights.others if isinstance(self.weights, DenseWeights) else self.weights
        return tuple(sorted({str(array.dtype) for array in floats.values()}))


def open_checkpoint(folder: Path) -> Checkpoint:
    """Opens a folder with `config.json` and safetensors weights. Reads only the headers of the weights.

    If a config ties embedding and head, and both are stored, their values are compared.

    Raises:
        CheckpointError: no folder or weights; or weights that are pickled, damaged or of the wrong shape.
        SpecError: a config that Edge cannot run.
    """
    folder = folder.expanduser().resolve()
    _check_folder(folder)
    config = _config_of(folder)
    refuse_other_heads(folder, config)
    family = family_of(config)
    stated = family.spec_of(config)
    files = weight_files(folder, config.keys.get("transformers_weights"))
    if len(files) == 1 and is_quantized(files[0]):
        spec = family.spec_of(untied(config)) if has_head(files[0]) else stated
        return Checkpoint(folder, spec, *open_quantized(files[0], spec))
    tensors = StoredTensors(tensors_in(files), family.prefix)
    config = as_tied(config, family, stated, tensors)
    spec = family.spec_of(config)
    quantized = quantized_parameters(config, family, spec, tensors)
    weights = StoredWeights(match(config, family, spec, tensors, leave_out=quantized.keys()))
    if not quantized:
        return Checkpoint(folder, spec, weights)
    products = {name for name, parameter in parameters_of(spec).items() if parameter.product}
    return Checkpoint(folder, spec, DenseWeights(quantized, weights, files), quantized.only(products))


def _config_of(folder: Path) -> Config:
    """The config of a folder; that of the text decoder if the model has other inputs too."""
    return text_decoder(Config(folder / "config.json", _read_json(folder / "config.json")))


def _check_folder(folder: Path) -> None:
    if folder.is_file():
        raise CheckpointError(
            of_file(folder)
            or f"{folder} is a file, not a folder; a checkpoint is a folder with config.json and *.safetensors"
        )
    if not folder.is_dir():
        raise CheckpointError(f"{folder} does not exist; a checkpoint is a folder with config.json and *.safetensors")
    refuse_adapter(folder)
    if not (folder / "config.json").is_file():
        raise CheckpointError(without_config(folder))


def _read_json(file: Path) -> dict[str, Any]:
    try:
        refuse_pointer(file)
        keys = parse_json(file.read_text(encoding="utf8"))
    except (ValueError, OSError) as error:
        raise SpecError(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(keys, dict):
        raise SpecError(f"{file} contains a {type(keys).__name__}, not a JSON object")
    return keys


def unread_keys(folder: Path) -> tuple[str, ...]:
    """Keys of a checkpoint's config that have a value and that its family does not read."""
    config = _config_of(folder)
    return family_of(config).unread(config)
