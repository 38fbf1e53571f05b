"""The decoder of a config and tensors: quantized parameters in their stored form, all others by their names."""

from collections.abc import Callable, Sequence
from pathlib import Path

from models.families.config import Config
from models.families.family import Family
from models.matching import as_tied, match
from models.parameters import parameters_of
from models.quantized import QuantizedMatrices
from models.sources.source import Contents
from models.spec import DecoderSpec
from models.tensor_names import StoredTensors
from models.weights import DenseWeights, StoredWeights

Quantized = Callable[[Config, Family, DecoderSpec, StoredTensors], QuantizedMatrices]
"""Finds the quantized parameters."""


def matched(
    config: Config,
    family: Family,
    stated: DecoderSpec,
    tensors: StoredTensors,
    files: Sequence[Path],
    quantized_parameters: Quantized,
) -> Contents:
    """The decoder. If the config ties embedding and head, and both are stored, their values are compared.

    Args:
        stated: The spec of the config as it stands.
    """
    config = as_tied(config, family, stated, tensors)
    spec = family.spec_of(config)
    quantized = quantized_parameters(config, family, spec, tensors)
    weights = StoredWeights(match(config, family, spec, tensors, leave_out=quantized.keys()))
    if not quantized:
        return Contents(spec, weights)
    products = {name for name, parameter in parameters_of(spec).items() if parameter.product}
    return Contents(spec, DenseWeights(quantized, weights, tuple(files)), quantized.only(products))
