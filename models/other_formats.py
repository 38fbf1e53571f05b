"""What else people have where Edge looks for a checkpoint folder: recognized by name, with the command that helps."""

import re
from collections.abc import Callable
from pathlib import Path
from shlex import quote

from models.errors import CheckpointError

_POINTER = b"version https://git-lfs.github.com/spec/v1"
_GGUF = b"GGUF"

_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_PARTS = (".json", ".safetensors", ".jinja", ".model", ".txt")

_URL = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/(?P<id>\w[\w.-]*/\w[\w.-]*)(?:[/?#].*)?")

Recognized = Callable[[Path], str | None]


def refuse_pointer(file: Path) -> None:
    """Refuses what git leaves in place of a large file that was not fetched.

    Raises:
        CheckpointError: the file is such a pointer; the message says how to get the file.
    """
    with file.open("rb") as opened:
        if opened.read(len(_POINTER)) == _POINTER:
            raise CheckpointError(
                f"{file} is a pointer of Git LFS, not the file itself: git -C {quote(str(file.parent))} lfs pull "
                "fetches it (after 'git lfs install')"
            )


def id_in_url(text: str) -> str | None:
    """The id of a model whose page, or a file of which, this address of the Hugging Face hub leads to."""
    found = _URL.fullmatch(text.strip())
    return found["id"] if found and not found["id"].startswith(("datasets/", "spaces/")) else None


def of_file(file: Path) -> str | None:
    """What a file is that was named in place of a checkpoint folder, and what to do; None where nobody can tell."""
    with file.open("rb") as opened:
        start = opened.read(len(_GGUF))
    if start == _GGUF or file.suffix.lower() == ".gguf":
        return f"{file} is a GGUF file; {_INSTEAD_OF_GGUF}"
    if file.suffix.lower() in _PICKLED:
        return f"{file} holds pickled weights; {_INSTEAD_OF_PICKLES}"
    if file.suffix.lower() in (".zip", ".gz", ".tar", ".tgz", ".7z", ".xz"):
        return f"{file} is an archive; unpack it, and name the folder with config.json in it"
    if file.suffix.lower() in _PARTS and (file.parent / "config.json").is_file():
        return f"{file} is one file of a checkpoint; name its folder: {file.parent}"
    return None


def without_config(folder: Path) -> str:
    """Why a folder is no checkpoint that has no config.json."""
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
    """Why a folder is no checkpoint that has no file of weights that counts."""
    return _recognized(folder) or f"{folder} is not a checkpoint: it has no *.safetensors file of weights"


def without_tokenizer(folder: Path) -> str:
    """Why a folder without tokenizer.json has no tokenizer that can be read, and what makes one."""
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


_INSTEAD_OF_GGUF = (
    "Edge reads the checkpoint that it was made from: 'edge models pull OWNER/MODEL' fetches one of the hub"
)

_INSTEAD_OF_PICKLES = (
    "unpickling runs code from the file, so Edge reads safetensors only: save the model again with "
    "save_pretrained(..., safe_serialization=True)"
)


def _recognized(folder: Path) -> str | None:
    return next((told for recognize in _KINDS if (told := recognize(folder)) is not None), None)


def _pickled(folder: Path) -> str | None:
    found = sorted(file.name for file in folder.glob("*") if file.suffix.lower() in _PICKLED[:-1] and file.is_file())
    found = [name for name in found if not name.startswith((".", "training_args", "optimizer", "scheduler"))]
    return f"{folder} holds pickled weights ({found[0]}); {_INSTEAD_OF_PICKLES}" if found else None


def _named(pattern: str, what: str, instead: str) -> Recognized:
    def recognize(folder: Path) -> str | None:
        found = next(iter(sorted(file.name for file in folder.glob(pattern))), None)
        return None if found is None else f"{folder} holds {what} ({found}); {instead}"

    return recognize


_KINDS: tuple[Recognized, ...] = (
    _named("*.gguf", "GGUF files", _INSTEAD_OF_GGUF),
    _named("model_index.json", "a pipeline of diffusers", "Edge runs decoders of text"),
    _named("weights*.npz", "weights of an older MLX", "convert the model again with 'mlx_lm.convert'"),
    _pickled,
    _named("*.onnx", "ONNX graphs", "Edge makes its own out of the checkpoint that they were exported from; name that"),
    _named("tf_model*", "weights for TensorFlow", "Edge reads safetensors only"),
    _named("flax_model*", "weights for JAX", "Edge reads safetensors only"),
    _named(".*.distcp", "a distributed checkpoint of torch", "save it again with save_pretrained"),
    _named("consolidated*", "weights under the names of their first release", "get them in the format of transformers"),
)
