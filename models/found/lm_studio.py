"""Models of LM Studio: folders PUBLISHER/MODEL with GGUF files, or with a checkpoint for MLX."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from models.found.folders import UnreadableFolderError, descend, entry_named, gguf_paths, home, names_in
from models.found.place import BrokenModel, FoundModel
from models.sources.gguf.choice import file_with_tag, model_files, tag_of


def lm_studio_folders() -> tuple[Path, ...]:
    """The folders in which LM Studio may keep models."""
    return (home() / ".lmstudio" / "models", home() / ".cache" / "lm-studio" / "models")


@dataclass(frozen=True)
class LmStudio:
    """One folder of LM Studio's models."""

    folder: Path
    title: ClassVar[str] = "LM Studio"

    def find(self, name: str) -> Path | None:
        """The model PUBLISHER/MODEL, of several the one with a tag after `:`, or the file PUBLISHER/MODEL/FILE."""
        publisher, *rest = name.split("/")
        if not publisher or len(rest) not in (1, 2):
            return None
        model, tag = rest[0], ""
        if len(rest) == 1:
            model, _, tag = rest[0].partition(":")
        folder = descend(self.folder, (publisher, model))
        if folder is None or not os.path.isdir(folder):
            return None
        if len(rest) == 2:
            file = entry_named(folder, rest[1])
            return file if file is not None and os.path.isfile(file) else None
        if not tag and os.path.isfile(folder / "config.json"):
            return folder
        file_name = file_with_tag(gguf_paths(folder), tag)
        return None if file_name is None else folder / file_name

    def models(self) -> Iterator[FoundModel | BrokenModel]:
        for publisher in names_in(self.folder):
            try:
                for model in names_in(self.folder / publisher):
                    yield from _models_in(f"{publisher}/{model}", self.folder / publisher / model)
            except UnreadableFolderError as error:
                yield BrokenModel(str(error.folder), error.problem)


def _models_in(name: str, folder: Path) -> Iterator[FoundModel]:
    files = model_files(gguf_paths(folder))
    if os.path.isfile(folder / "config.json"):
        yield FoundModel(name, folder)
    elif len(files) == 1:
        yield FoundModel(name, folder / files[0])
    else:
        for file in files:
            tag = tag_of(files, file)
            yield FoundModel(f"{name}:{tag}" if tag else f"{name}/{file}", folder / file)
