"""Where Edge keeps files that it can make again: graphs, converted weights, texts of GGUF files."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import platformdirs

CACHE_VARIABLE = "EDGE_CACHE"

MOVED = f"free some space, or set the environment variable {CACHE_VARIABLE} to another folder"
"""What to do if the cache cannot be written."""


def cache_folder(of: str = "") -> Path:
    """The folder of one kind of files, or of all: in `EDGE_CACHE`, or in the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return (Path(chosen).expanduser() if chosen else Path(platformdirs.user_cache_dir("edge-lens"))) / of


def cache_key(files: Iterable[Path], *others: object) -> str:
    """A name for what is made from some files: they are identified by path, size and time of modification."""
    return hashlib.sha256(repr(others).encode() + identity(files)).hexdigest()[:32]


def identity(files: Iterable[Path]) -> bytes:
    """What changes if one of some files does."""
    stats = ((file.resolve(), file.stat()) for file in files)
    return "".join(f"{file} {stat.st_size} {stat.st_mtime_ns}\n" for file, stat in stats).encode()
