"""Models that llama.cpp downloaded: in the layout of the hub's cache, or in older versions as single files."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from models.found.folders import distinct, entry_named, home, names_in
from models.found.hub_cache import find_gguf, gguf_in_cache
from models.found.place import BrokenModel, FoundModel
from models.hub import hub_name
from models.sources.gguf.choice import file_with_tag, model_files


def llama_cpp_folders() -> tuple[Path, ...]:
    """The folders in which llama.cpp may keep models, other than the hub's cache."""
    chosen = [Path(os.environ[name]) for name in ("LLAMA_CACHE",) if os.environ.get(name)]
    parents = [Path(os.environ[name]) for name in ("XDG_CACHE_HOME", "LOCALAPPDATA") if os.environ.get(name)]
    parents += [home() / ".cache", home() / "Library" / "Caches"]
    return distinct([*chosen, *(parent / "llama.cpp" for parent in parents)])


@dataclass(frozen=True)
class LlamaCpp:
    """One folder of llama.cpp's downloads."""

    folder: Path
    title: ClassVar[str] = "llama.cpp"

    def find(self, name: str) -> Path | None:
        """A file by its name, with or without `.gguf`; or `owner/model:TAG`."""
        for file_name in (name, f"{name}.gguf"):
            file = entry_named(self.folder, file_name)
            if file is not None and os.path.isfile(file) and model_files([file.name]):
                return file
        wanted = hub_name(name)
        if wanted is None:
            return None
        start = f"{wanted.id.replace('/', '_')}_".casefold()
        own = {file[len(start) :]: file for file in self._files() if file.casefold().startswith(start)}
        chosen = file_with_tag(own, wanted.tag)
        return find_gguf(self.folder, wanted) if chosen is None else self.folder / own[chosen]

    def models(self) -> Iterator[FoundModel | BrokenModel]:
        yield from (FoundModel(file, self.folder / file) for file in self._files())
        yield from gguf_in_cache(self.folder)

    def _files(self) -> list[str]:
        return [name for name in model_files(names_in(self.folder)) if os.path.isfile(self.folder / name)]
