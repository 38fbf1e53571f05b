"""All places in which models may lie on this machine, in the order in which a name is looked up."""

from collections.abc import Iterator
from pathlib import Path

from models.found.folders import UnreadableFolderError
from models.found.hub_cache import HubCache
from models.found.llama_cpp import LlamaCpp, llama_cpp_folders
from models.found.lm_studio import LmStudio, lm_studio_folders
from models.found.ollama import Ollama, ollama_folders
from models.found.place import BrokenModel, FoundModel, Place


def places() -> tuple[Place, ...]:
    """The hub's cache, then the folders of Ollama, LM Studio and llama.cpp; they may be absent."""
    from huggingface_hub import constants

    return (
        HubCache(Path(constants.HF_HUB_CACHE)),
        *map(Ollama, ollama_folders()),
        *map(LmStudio, lm_studio_folders()),
        *map(LlamaCpp, llama_cpp_folders()),
    )


def models_of(place: Place) -> Iterator[FoundModel | BrokenModel]:
    """All models of a place; a folder that cannot be read ends the list."""
    try:
        yield from place.models()
    except UnreadableFolderError as error:
        yield BrokenModel(str(error.folder), error.problem)
