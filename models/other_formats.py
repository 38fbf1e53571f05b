"""Recognizes other formats than a checkpoint folder, with messages that say what to do."""

import re
from collections.abc import Callable
from pathlib import Path
from shlex import quote

from models.errors import CheckpointError

_POINTER = b"version https://git-lfs.github.com/spec/v1"
_GGUF = b"GGUF"

_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_PARTS = (".json", ".safetensors", ".jinja", ".model", ".txt")

_URL = re.compile(
    r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/(?P<id>\w[\w.-]*/\w[\w.-]*)"
    r"(?::(?P<tag>[\w.-]+)|/(?:blob|resolve)/[^/]+/(?:[^?#]*/)?(?P<file>[^/?#]+?)(?:-\d{5}-of-\d{5})?\.gguf(?:[?#].*)?|[/?#].*)?"
)

Recognized = Callable[[Path], str | None]


def refuse_pointer(file: Path) -> None:
    """Checks that a file is not a Git LFS pointer.

    Raises:
        CheckpointError: it is one; the message has the command that downloads the file.
    """
    with file.open("rb") as opened:
        if opened.read(len(_POINTER)) == _POINTER:
            raise CheckpointError(
                f"{file} is a Git LFS pointer, not the file itself; download it with 'git lfs install' and "
                f"git -C {quote(str(file.parent))} lfs pull"
            )


def name_in_url(text: str) -> str | None:
    """The name of the model in the address of a page or file on the Hugging Face hub; None for other texts.

    It is `owner/model`, or `owner/model:TAG` for a GGUF file.
    """
    match = _URL.fullmatch(text.strip())
    if match is None or match["id"].startswith(("datasets/", "spaces/")):
        return None
    tag = match["tag"] or match["file"]
    return f"{match['id']}:{tag}" if tag else match["id"]


def is_gguf(file: Path) -> bool:
    """Whether a file is a GGUF file by its first bytes or its name. Files of Ollama have no suffix."""
    with file.open("rb") as opened:
        return opened.read(len(_GGUF)) == _GGUF or file.suffix.lower() == ".gguf"


def of_file(file: Path) -> str | None:
    """What a file is that was named instead of a checkpoint folder, and what to do; None if it is not recognized."""
    if file.suffix.lower() in _PICKLED:
        return f"{file} has pickled weights; {_INSTEAD_OF_PICKLES}"
    if file.suffix.lower() in (".zip", ".gz", ".tar", ".tgz", ".7z", ".xz"):
        return f"{file} is an archive; unpack it, and name the folder with config.json in it"
    if file.suffix.lower() in _PARTS and (file.parent / "config.json").is_file():
        return f"{file} is one file of a checkpoint; name its folder: {file.parent}"
    return None


def without_config(folder: Path) -> str:
    """The message for a folder without config.json."""
    if (known := _recognized(folder)) is not None:
        return known
    nested = sorted(file.parent for file in folder.glob("*/config.json"))
    if nested:
        return f"{folder} is not a checkpoint: it has no config.json, but {nested[-1]} has one; name that folder"
    return (
        f"{folder} is not a checkpoint: it has no config.json; a checkpoint is a folder with config.json and "
        "*.safetensors"
    )


def without_weights(folder: Path) -> str:
    """The message for a folder without safetensors weights."""
    return _recognized(folder) or f"{folder} is not a checkpoint: it has no *.safetensors file of weights"


def without_tokenizer(folder: Path) -> str:
    """The message for a folder without tokenizer.json, with the command that writes one."""
    code = f"from transformers import AutoTokenizer as T; f = {str(folder)!r}; T.from_pretrained(f).save_pretrained(f)"
    command = f"python -c {quote(code)}"
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return f"{folder} has vocab.json and merges.txt but no tokenizer.json; transformers writes one: {command}"
    if (folder / "tokenizer.model").is_file():
        return (
            f"{folder} has a tokenizer.model of sentencepiece but no tokenizer.json; transformers, with the package "
            f"sentencepiece, writes one: {command}"
        )
    return f"{folder} has no tokenizer.json"


_INSTEAD_OF_PICKLES = (
    "unpickling can run code from the file, so Edge only reads safetensors; save the model again with "
    "save_pretrained(..., safe_serialization=True)"
)


def _recognized(folder: Path) -> str | None:
    return next((message for recognize in _KINDS if (message := recognize(folder)) is not None), None)


def _pickled(folder: Path) -> str | None:
    names = sorted(file.name for file in folder.glob("*") if file.suffix.lower() in _PICKLED[:-1] and file.is_file())
    names = [name for name in names if not name.startswith((".", "training_args", "optimizer", "scheduler"))]
    return f"{folder} has pickled weights ({names[0]}); {_INSTEAD_OF_PICKLES}" if names else None


def _named(pattern: str, what: str, instead: str) -> Recognized:
    def recognize(folder: Path) -> str | None:
        name = next(iter(sorted(file.name for file in folder.glob(pattern))), None)
        return None if name is None else f"{folder} has {what} ({name}); {instead}"

    return recognize


_KINDS: tuple[Recognized, ...] = (
    _named("model_index.json", "a diffusers pipeline", "Edge runs text decoders"),
    _named("weights*.npz", "weights of an older MLX", "convert the model again with 'mlx_lm.convert'"),
    _pickled,
    _named("*.onnx", "ONNX graphs", "name the checkpoint that they were exported from; Edge exports its own graphs"),
    _named("tf_model*", "weights for TensorFlow", "Edge only reads safetensors"),
    _named("flax_model*", "weights for JAX", "Edge only reads safetensors"),
    _named(".*.distcp", "a distributed torch checkpoint", "save it again with save_pretrained"),
    _named("consolidated*", "weights in their original format", "download them in transformers format"),
)
