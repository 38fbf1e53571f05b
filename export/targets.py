"""Export targets and their files.

std      std.onnx, std.onnx.data                            standard operators and the names that other tools expect
genai    model.onnx, model.onnx.data, genai_config.json     for onnxruntime-genai
edge     safetensors, graphs/                               a checkpoint that Edge runs without torch and onnx
"""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from export.bundle import GRAPHS, write_bundle, write_graph
from export.external import write_weights
from export.genai import CONFIG, genai_config
from export.initializers import planned_initializers
from export.layout import Layout
from models.checkpoint import Checkpoint
from models.errors import CheckpointError, MisuseError
from models.hub import is_inside
from models.progress import Progress
from models.weight_files import INDEX

TEXT_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    "config.json",
    "chat_template.jinja",
)

GENAI = "genai"

Planned = tuple[str, int | None]
"""A file's name, and its size in bytes if it is known in advance."""


@dataclass(frozen=True)
class Target(ABC):
    """One kind of export.

    Attributes:
        graphs: File of each graph, by its name in `export.graphs.plans`.
        weights: The file of weights, or the first of several.
    """

    graphs: Mapping[str, str]
    weights: str

    @abstractmethod
    def write(self, checkpoint: Checkpoint, layout: Layout, folder: Path, progress: Progress) -> None:
        """Writes weights, graphs and config files."""

    @abstractmethod
    def own_files(self, checkpoint: Checkpoint, layout: Layout) -> Iterator[Planned]:
        """The files that `write` will write."""

    def planned(self, checkpoint: Checkpoint, layout: Layout) -> list[Planned]:
        """Every file of the export except its manifest."""
        texts = text_files(checkpoint)
        return [*self.own_files(checkpoint, layout), *((file.name, file.stat().st_size) for file in texts)]


class Standalone(Target):
    """One graph with its weights in an external data file."""

    def write(self, checkpoint: Checkpoint, layout: Layout, folder: Path, progress: Progress) -> None:
        progress("writing weights")
        extents = write_weights(checkpoint, layout, folder / self.weights)
        for name, file in self.graphs.items():
            progress(f"exporting graph {name}")
            write_graph(checkpoint.spec, layout, name, folder / file, self.weights, extents)

    def own_files(self, checkpoint: Checkpoint, layout: Layout) -> Iterator[Planned]:
        yield from ((file, None) for file in self.graphs.values())
        yield self.weights, stored_bytes(checkpoint, layout)


class ForGenai(Standalone):
    """A graph with weights, and the config of onnxruntime-genai."""

    def write(self, checkpoint: Checkpoint, layout: Layout, folder: Path, progress: Progress) -> None:
        super().write(checkpoint, layout, folder, progress)
        (folder / CONFIG).write_text(genai_config(checkpoint, self.graphs[GENAI]), encoding="utf8")

    def own_files(self, checkpoint: Checkpoint, layout: Layout) -> Iterator[Planned]:
        yield from super().own_files(checkpoint, layout)
        yield CONFIG, len(genai_config(checkpoint, self.graphs[GENAI]).encode())


class ForEdge(Target):
    """The checkpoint's weights, unchanged, and graphs without weights."""

    def write(self, checkpoint: Checkpoint, layout: Layout, folder: Path, progress: Progress) -> None:
        progress("copying weights")
        for file in self._weight_files(checkpoint):
            shutil.copyfile(file, folder / file.name)
        write_bundle(checkpoint.spec, folder / "graphs", "free some space", progress, layout)

    def own_files(self, checkpoint: Checkpoint, layout: Layout) -> Iterator[Planned]:
        yield from ((file.name, file.stat().st_size) for file in self._weight_files(checkpoint))
        yield from ((file, None) for file in self.graphs.values())

    def _weight_files(self, checkpoint: Checkpoint) -> list[Path]:
        """The shards and their index. Raises MisuseError for a checkpoint from memory."""
        if not checkpoint.files:
            raise MisuseError(f"{checkpoint.name} has no weight files to copy")
        index = checkpoint.source.path / INDEX
        files = [*checkpoint.files, *([index] if index.is_file() and len(checkpoint.files) > 1 else [])]
        return [_copyable(checkpoint, file) for file in files]


TARGETS: dict[str, Target] = {
    "std": Standalone({"std": "std.onnx"}, "std.onnx.data"),
    GENAI: ForGenai({GENAI: "model.onnx"}, "model.onnx.data"),
    "edge": ForEdge({name: f"graphs/{name}.onnx" for name in GRAPHS}, "model.safetensors"),
}


def text_files(checkpoint: Checkpoint) -> list[Path]:
    """Tokenizer, template and configs of a checkpoint, copied to every export."""
    folder = checkpoint.source.texts()
    return [_copyable(checkpoint, file) for name in TEXT_FILES if (file := folder / name).is_file()]


def _copyable(checkpoint: Checkpoint, file: Path) -> Path:
    """Returns a file that may be copied: a downloaded checkpoint could link to private files.

    Raises:
        CheckpointError: the file is a symlink to a place outside the checkpoint.
    """
    if file.is_symlink() and not is_inside(file, file.parent):
        raise CheckpointError(
            f"{file} links to {file.resolve()}, outside the checkpoint, and is not copied; replace the link with "
            "the file itself"
        )
    return file


def stored_bytes(checkpoint: Checkpoint, layout: Layout) -> int:
    """Bytes of all initializers, without padding between pages."""
    planned = planned_initializers(checkpoint, layout)
    return sum(prod(shape) * kind.itemsize for kind, shape in planned.values())
