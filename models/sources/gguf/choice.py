"""Chooses among the GGUF files of a folder or a repository, as llama.cpp does."""

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

_LATER_PART = re.compile(r".*-(?!00001)\d{5}-of-\d{5}\.gguf", re.IGNORECASE)

_OTHERS = ("mmproj", "imatrix", "mtp-", "eagle3-", "dflash-", "dspark-")
"""What the names of files have that are no models: inputs of images, statistics, and models that only draft tokens."""

_SPLIT = re.compile(r"(?P<stem>.+)-00001-of-(?P<count>\d{5})(?P<suffix>\.gguf)", re.IGNORECASE)

_MOST_PARTS = 1000

_TYPE = re.compile(r"(?<![a-z0-9])(?:[IT]?Q\d\w*|MXFP\d\w*|NVFP\d\w*|B?F16|F32)(?=[.-])", re.IGNORECASE)
"""The type of weights in the name of a file."""

_PREFERRED = ("Q4_K_M", "Q8_0")
"""Types to take where the user names none."""


def model_files(paths: Iterable[str]) -> list[str]:
    """Paths of GGUF models, sorted; of a split one the first part."""
    return sorted(
        path
        for path in paths
        if path.lower().endswith(".gguf")
        and not _LATER_PART.fullmatch(path)
        and not any(other in path.lower() for other in _OTHERS)
    )


def file_with_tag(paths: Iterable[str], tag: str = "") -> str | None:
    """The model whose path has a tag, such as `Q4_K_M`, before a dot or a dash; without one a usual type, or any.

    A tag that is a whole word comes first: `F16` is also the end of `BF16`.
    """
    files = model_files(paths)
    for wanted in (tag,) if tag else _PREFERRED:
        for start in (r"(?<![a-z0-9])", ""):
            named = re.compile(rf"{start}{re.escape(wanted)}[.-]", re.IGNORECASE)
            if found := next((path for path in files if named.search(path)), None):
                return found
    return files[0] if files and not tag else None


def part_names(first: str) -> list[str]:
    """Paths of all parts of a model, of which the first is given; itself if it is not split."""
    split = _SPLIT.fullmatch(first)
    if split is None or not 1 < int(split["count"]) <= _MOST_PARTS:
        return [first]
    count = int(split["count"])
    return [f"{split['stem']}-{number:05}-of-{count:05}{split['suffix']}" for number in range(1, count + 1)]


def tag_of(paths: Sequence[str], file: str) -> str:
    """A tag that `file_with_tag` finds a file by: its type of weights, else its whole name; empty if others have it."""
    name = PurePosixPath(file).name
    tags = [*reversed(_TYPE.findall(name)), name[: -len(".gguf")]]
    return next((tag for tag in tags if file_with_tag(paths, tag) == file), "")
