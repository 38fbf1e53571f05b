"""The hub's cache: checkpoint folders, and GGUF files by `owner/model:Q4_K_M`."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from models.errors import CheckpointError
from models.found.folders import gguf_paths, names_in
from models.found.place import BrokenModel, FoundModel
from models.hub import ENTRY, HubName, cached, hub_name
from models.sources.gguf.choice import file_with_tag, model_files, part_names, tag_of


class IncompleteDownloadError(CheckpointError):
    """A model of the hub's cache that lacks a part."""


@dataclass(frozen=True)
class HubCache:
    """The cache of the hub's client, by default in `~/.cache/huggingface/hub`."""

    folder: Path
    title: ClassVar[str] = "hub cache"

    def find(self, name: str) -> Path | None:
        wanted = hub_name(name)
        if wanted is None:
            return None
        whole = None if wanted.tag else cached(wanted.id)
        return whole or find_gguf(self.folder, wanted)

    def models(self) -> Iterator[FoundModel | BrokenModel]:
        for id, entry in _entries(self.folder):
            whole, files = cached(id), list(gguf_models(id, entry))
            if whole is not None:
                yield FoundModel(id, whole)
            yield from files
            if whole is None and not files:
                yield from _others(id, entry)


def find_gguf(cache: Path, wanted: HubName) -> Path | None:
    """The GGUF file of a model in a cache; of a split one the first part.

    Raises:
        IncompleteDownloadError: a part is missing.
        UnreadableFolderError: a folder cannot be read.
    """
    for snapshot in _snapshots(cache / f"{ENTRY}{wanted.id.replace('/', '--')}"):
        paths = gguf_paths(snapshot)
        chosen = file_with_tag(paths, wanted.tag)
        if chosen is not None:
            missing = [part for part in part_names(chosen) if part not in paths]
            if missing:
                raise IncompleteDownloadError(
                    f"'{wanted}' is incomplete: {snapshot} lacks {missing[0]}; 'edge models pull {wanted}' downloads "
                    "the rest"
                )
            return snapshot / chosen
    return None


def gguf_in_cache(cache: Path) -> Iterator[FoundModel]:
    """GGUF models of a cache."""
    for id, entry in _entries(cache):
        yield from gguf_models(id, entry)


def gguf_models(id: str, entry: Path) -> Iterator[FoundModel]:
    """GGUF models of one repository, the newest of each."""
    known: set[str] = set()
    for snapshot in _snapshots(entry):
        files = model_files(gguf_paths(snapshot))
        for file in files:
            if file not in known:
                known.add(file)
                tag = tag_of(files, file)
                yield FoundModel(f"{id}:{tag}" if tag else str(snapshot / file), snapshot / file)


def _entries(cache: Path) -> Iterator[tuple[str, Path]]:
    for name in names_in(cache):
        id = name.removeprefix(ENTRY).replace("--", "/", 1)
        if name.startswith(ENTRY) and hub_name(id) is not None:
            yield id, cache / name


def _snapshots(entry: Path) -> list[Path]:
    """Folders of a repository, the current one first, then the latest."""
    folder, main = entry / "snapshots", entry / "refs" / "main"
    snapshots = [folder / name for name in names_in(folder) if os.path.isdir(folder / name)]
    try:
        current = main.read_text(encoding="utf8", errors="replace").strip()
    except OSError:
        current = ""
    return sorted(snapshots, key=lambda one: (one.name != current, -one.stat().st_mtime_ns))


def _others(id: str, entry: Path) -> Iterator[FoundModel | BrokenModel]:
    """A repository without weights that Edge reads, or whose download is incomplete; none if nothing was downloaded."""
    for snapshot in _snapshots(entry)[:1]:
        if os.path.isfile(snapshot / "model.safetensors.index.json"):
            yield BrokenModel(id, f"incomplete: 'edge models pull {id}' downloads the rest")
        elif names_in(snapshot):
            yield FoundModel(id, snapshot)  # opening it says what it is
