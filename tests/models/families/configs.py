"""Configs key by key, as transformers and as Edge read them, without a file in between."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PretrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from models.checkpoint import Checkpoint
from models.families.config import Config
from models.families.registry import FAMILIES
from models.families.views import Stored
from models.kernels import FullPass
from models.loading import load_decoder
from models.parameters import parameter_shapes, part_of
from models.sources.folder import Folder
from models.spec import DecoderSpec
from tests.reference import random_model, reference_logits

IDS = [3, 1, 41, 59, 26, 5, 35, 89, 79, 32, 38, 46, 26, 43]

Keys = dict[str, Any]
Meaning = tuple[DecoderSpec, dict[str, float]]


def config_class(name: str) -> type[PretrainedConfig]:
    """What transformers makes of configs with this `model_type`."""
    return CONFIG_MAPPING[name]


def defaults_of(name: str) -> Keys:
    """Every field of a config class with its default."""
    return {field.name: field.default for field in fields(config_class(name))}


def read_by_transformers(name: str, keys: Keys) -> PretrainedConfig:
    """The config as transformers reads it out of a file; it may raise anything."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return config_class(name).from_dict({"model_type": name, **copied(keys)})


def copied(keys: Keys) -> Keys:
    """Transformers writes into the tables it is given."""
    return {key: copied(value) if isinstance(value, dict) else value for key, value in keys.items()}


def config_of(keys: Keys) -> Config:
    """A config as Edge reads it out of a file."""
    return Config(Path("config.json"), keys)


def read_by_edge(name: str, keys: Keys) -> Meaning:
    """A spec and what is folded into weights."""
    config = config_of({"model_type": name, **keys})
    return FAMILIES[name].spec_of(config), FAMILIES[name].multipliers(config)


_IN_MEMORY = {"embed_out.weight": "lm_head.weight"}
"""Names of files that transformers changes as it reads them."""


def logits_of_edge(name: str, meaning: Meaning, stored: Mapping[str, torch.Tensor], ids: list[int]) -> np.ndarray:
    """(token, vocab) of the torch decoder with the tensors of a model of transformers."""
    spec, multipliers = meaning
    places = FAMILIES[name].weights_of(spec)
    weights = {}
    for parameter in parameter_shapes(spec):
        read = _read(places[parameter], stored)
        weights[parameter] = np.float32(multipliers.get(part_of(parameter), 1.0)) * read
    decoder = load_decoder(Checkpoint(Folder(Path("here")), spec, weights))
    with torch.no_grad():
        return decoder(torch.tensor(ids), torch.arange(len(ids)), FullPass(len(ids))).numpy()


def _read(places: Stored, stored: Mapping[str, torch.Tensor]) -> np.ndarray:
    """A parameter from the first way of storing it that a model has in memory."""
    for place in places.ways:
        found = [stored.get(_IN_MEMORY.get(tensor, tensor)) for tensor in place.tensors]
        arrays = [tensor.numpy() for tensor in found if tensor is not None]
        if len(arrays) == len(found):
            return place.read(arrays)
    raise AssertionError(f"the model has no '{places.tensor}' in memory")


@cache
def sources(name: str) -> str:
    """The code of transformers that a family runs."""
    import importlib

    base = name.removesuffix("_text")
    return Path(importlib.import_module(f"transformers.models.{base}.modeling_{base}").__file__ or "").read_text()


@dataclass(frozen=True)
class Run:
    """What a random model of transformers makes of some tokens."""

    stored: Mapping[str, torch.Tensor]
    ids: list[int]
    logits: np.ndarray

    def difference(self, name: str, meaning: Meaning) -> float:
        """The largest difference to the logits of what Edge reads, on the same weights."""
        return float(np.abs(logits_of_edge(name, meaning, self.stored, self.ids) - self.logits).max())


def run_of(config: PretrainedConfig, ids: list[int] | None = None) -> Run:
    """Random weights for a config, and their logits."""
    model = random_model(config)
    return Run(model.state_dict(), ids or IDS, reference_logits(model, ids or IDS))
