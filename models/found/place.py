"""A folder in which a program keeps its models, and the models in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable


@dataclass(frozen=True)
class FoundModel:
    """A model by the name that `find_model` takes, and its folder or file."""

    name: str
    path: Path


@dataclass(frozen=True)
class BrokenModel:
    """A model that cannot be opened, or a folder that cannot be read, and why, as a clause."""

    name: str
    problem: str


@runtime_checkable
class Place(Protocol):
    """One folder of one program. It may be absent.

    Attributes:
        title: The program, for people.
    """

    title: ClassVar[str]

    @property
    def folder(self) -> Path:
        """The folder."""

    def find(self, name: str) -> Path | None:
        """The folder or file of a model; None if it is not here, or if the name is none of this program.

        Whatever is typed, it leads nowhere else: names are compared with those of files that are here.

        Raises:
            CheckpointError: the model is here, but incomplete or damaged; or a folder cannot be read.
        """

    def models(self) -> Iterator[FoundModel | BrokenModel]:
        """All models here, by name. Reads no weights."""
