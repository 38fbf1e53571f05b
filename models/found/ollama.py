"""Models of Ollama: manifests by name, and blobs by hash, of which one is a GGUF file."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from models.errors import CheckpointError
from models.found.folders import UnreadableFolderError, descend, distinct, entry_named, home, names_in
from models.found.place import BrokenModel, FoundModel
from models.json_text import parse_json

VARIABLE = "OLLAMA_MODELS"

SERVICE_FOLDER = Path("/usr/share/ollama/.ollama/models")
"""Where Ollama's service on Linux keeps models."""

_TREES = ("manifests", "manifests-v2")
_HOSTS = ("registry.ollama.ai", "ollama.com")
"""Hosts of names that name none."""

_NAMESPACE, _TAG = "library", "latest"
"""Parts of names that name none."""

_LONGEST_MANIFEST = 1 << 20
"""Bytes; manifests have about one thousand."""

_DIGEST = re.compile(r"sha256[:-](?P<hash>[0-9a-fA-F]{64})")

_MODEL, _ADAPTER, _TENSOR = (f"application/vnd.ollama.image.{kind}" for kind in ("model", "adapter", "tensor"))
"""Kinds of layers."""


def ollama_folders() -> tuple[Path, ...]:
    """All folders in which Ollama may keep models."""
    chosen = os.environ.get(VARIABLE)
    return distinct([*([Path(chosen)] if chosen else []), home() / ".ollama" / "models", SERVICE_FOLDER])


@dataclass(frozen=True)
class OllamaName:
    """A model of Ollama: `registry.ollama.ai/library/llama3.2:1b`. A host that is not named is any of Ollama's own."""

    hosts: tuple[str, ...]
    namespace: str
    model: str
    tag: str

    def __str__(self) -> str:
        """The name without the parts that need not be written."""
        host = "" if self.hosts[0] in _HOSTS else f"{self.hosts[0]}/"
        namespace = "" if self.namespace == _NAMESPACE and not host else f"{self.namespace}/"
        return f"{host}{namespace}{self.model}:{self.tag}"


def ollama_name(text: str) -> OllamaName | None:
    """The parts of a name; None if it has no model, or too many parts."""
    *front, last = text.split("/")
    model, colon, tag = last.rpartition(":")
    model, tag = (model, tag) if colon else (last, _TAG)
    if len(front) > 2 or not all((*front, model, tag)):
        return None
    host, namespace = front if len(front) == 2 else ("", *(front or [_NAMESPACE]))
    return OllamaName((host,) if host else _HOSTS, namespace, model, tag)


@dataclass(frozen=True)
class Ollama:
    """One folder of Ollama's models."""

    folder: Path
    title: ClassVar[str] = "Ollama"

    def find(self, name: str) -> Path | None:
        named = ollama_name(name)
        try:
            if named is None:
                self._refuse_others(name)
                return None
            for tree in _TREES:
                for host in named.hosts:
                    path = (host, named.namespace, named.model, named.tag)
                    manifest = descend(self.folder / tree, path)
                    if manifest is not None and not os.path.isdir(manifest):
                        return self._weights(name, manifest)
        except UnreadableFolderError as error:
            raise _with_advice(error) from error
        return None

    def models(self) -> Iterator[FoundModel | BrokenModel]:
        known: set[str] = set()
        for tree in _TREES:
            for found in _leaves(self.folder / tree, ()):
                if isinstance(found, UnreadableFolderError):
                    yield BrokenModel(str(found.folder), _with_advice(found).problem)
                elif (name := str(_named(found))) not in known:
                    known.add(name)
                    yield self._model(name, (self.folder / tree).joinpath(*found))

    def _model(self, name: str, manifest: Path) -> FoundModel | BrokenModel:
        try:
            return FoundModel(name, self._weights(name, manifest))
        except CheckpointError as error:
            return BrokenModel(name, str(error).removeprefix(f"'{name}' of Ollama ").partition(";")[0])

    def _refuse_others(self, name: str) -> None:
        """Refuses a name with a fifth part. Other names may be paths of files that are not there."""
        *front, _ = name.split("/")
        if len(front) > 2 and all(front) and any(entry_named(self.folder / tree, front[0]) for tree in _TREES):
            raise CheckpointError(
                f"'{name}' has {len(front) + 2} parts, and models of Ollama have four: host/namespace/model:tag; "
                "skills, agents and servers of Ollama are no models"
            )

    def _weights(self, name: str, manifest: Path) -> Path:
        """The blob of the weights, after a check that it is whole."""
        said = f"'{name}' of Ollama"
        layers = _layers(said, manifest)
        kinds = [kind for kind, _ in layers]
        if _ADAPTER in kinds:
            raise CheckpointError(
                f"{said} has an adapter, which Edge does not add to its model; merge the adapter into the model "
                "before it is made for Ollama"
            )
        if _TENSOR in kinds:
            raise CheckpointError(
                f"{said} has weights as safetensors layers of Ollama, which Edge does not read; pull the model from "
                "the hub with 'edge models pull'"
            )
        if _MODEL not in kinds:
            raise CheckpointError(
                f"{said} has no weights on this machine; if it runs in Ollama's cloud, it cannot be read"
            )
        if (count := kinds.count(_MODEL)) > 1:
            raise CheckpointError(f"{said} has {count} files of weights, and Edge reads one; {_AGAIN} in another form")
        return self._blob(said, manifest, dict(layers)[_MODEL])

    def _blob(self, said: str, manifest: Path, layer: dict[str, Any]) -> Path:
        digest, size = layer.get("digest"), layer.get("size")
        match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
        if match is None or type(size) is not int:
            raise CheckpointError(f"{said} has no valid hash or size of its weights; {_AGAIN} ({manifest})")
        blob = self.folder / "blobs" / f"sha256-{match['hash'].lower()}"
        try:
            found = blob.stat().st_size if blob.is_file() else None
        except OSError as error:
            raise UnreadableFolderError(blob, f"cannot be read ({error.strerror or error})") from error
        if found is None:
            raise CheckpointError(f"{said} lacks its weights; {_AGAIN} ({blob} is absent)")
        if found != size:
            raise CheckpointError(
                f"{said} has weights of {found:,} bytes, and its manifest says {size:,}; {_AGAIN} ({blob})"
            )
        return blob


_AGAIN = "pull it again with 'ollama pull'"


def _layers(said: str, manifest: Path) -> list[tuple[str, dict[str, Any]]]:
    """The kinds of all layers, and their entries."""
    try:
        if not manifest.is_file():  # a device or a pipe might never end
            raise ValueError("it is not a file")
        if (size := manifest.stat().st_size) > _LONGEST_MANIFEST:
            raise ValueError(f"it has {size:,} bytes")
        return _entries(manifest.read_bytes())
    except OSError as error:
        raise CheckpointError(
            f"{said} has a manifest that cannot be read ({error.strerror or error}); check {manifest}"
        ) from error
    except ValueError as error:
        raise CheckpointError(f"{said} has a damaged manifest ({error}); {_AGAIN} ({manifest})") from error


def _entries(manifest: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Raises ValueError if there is no list of layers."""
    try:
        layers = parse_json(manifest)["layers"]
        kinds = [str(layer["mediaType"]).partition(";")[0].strip() for layer in layers]
        return list(zip(kinds, map(dict, layers), strict=True))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError("it has no list of layers") from error


def _named(parts: tuple[str, ...]) -> OllamaName:
    host, namespace, model, tag = parts
    return OllamaName((host,), namespace, model, tag)


def _leaves(folder: Path, parts: tuple[str, ...]) -> Iterator[tuple[str, ...] | UnreadableFolderError]:
    """Host, namespace, model and tag of all manifests. A folder in place of a manifest has no model."""
    try:
        names = [name for name in names_in(folder) if not name.startswith(".")]
    except UnreadableFolderError as error:
        yield error
        return
    for name in names:
        if len(parts) < 3:
            yield from _leaves(folder / name, (*parts, name))
        elif not os.path.isdir(folder / name):
            yield *parts, name


def _with_advice(error: UnreadableFolderError) -> UnreadableFolderError:
    return UnreadableFolderError(
        error.folder, f"{error.problem}: let your user read it, or set {VARIABLE} to a folder that it can read"
    )
