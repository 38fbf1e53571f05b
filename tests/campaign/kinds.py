"""What the campaign reads: for each kind of file a made-up input in a folder, and what Edge has to do with it."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import tokenizers
from tokenizers import decoders, normalizers
from tokenizers import models as tokenizer_models

import edge
from edge.session import Model
from edge.watch import Watch
from export.bundle import open_bundle
from export.manifest import is_bundle, read_manifest
from models.chat import Turn, open_chat_template
from models.checkpoint import open_checkpoint
from models.parameters import parameter_shapes
from models.tokenizer import TextStream, Tokenizer, open_tokenizer
from models.zoo import zoo_folder
from tests.campaign import gguf_files
from tests.campaign.mutate import ODD, bent, damaged, text_of
from tests.campaign.template import template
from tests.folders import write_byte_llama
from tests.reference import REFERENCES

_SAID: dict[str, dict[str, Any]] = {
    "config.json": {"bos_token_id": 1, "eos_token_id": [2, 3]},
    "generation_config.json": {"eos_token_id": [2], "bos_token_id": 1},
    "tokenizer_config.json": {
        "bos_token": {"content": "<s>"},
        "eos_token": "</s>",
        "add_bos_token": True,
        "tokenizer_class": "LlamaTokenizer",
    },
    "special_tokens_map.json": {
        "bos_token": "<s>",
        "additional_special_tokens": ["<a>"],
        "sep_token": {"content": "</s>"},
    },
}
"""Special tokens in config files."""

ZOO = Path(str(zoo_folder("fable-relu")))


@dataclass(frozen=True)
class Kind:
    """One kind of input.

    Attributes:
        make: Writes an input into an empty folder.
        use: Does with the folder what users do; for a bad input only an `EdgeError` may come out of it.
    """

    make: Callable[[Path, Random], None]
    use: Callable[[Path, Random], None]


class Seeds:
    """Good files that inputs are made from, read once."""

    def __init__(self, work: Path) -> None:
        self.llama = write_byte_llama(work / "llama")
        self.weights = (self.llama / "model.safetensors").read_bytes()
        self.configs = [json.loads(make().to_json_string(use_diff=False)) for make in REFERENCES.values()]
        self.keys = tuple(sorted({key for config in self.configs for key in config}))
        self.tokenizers = [json.loads(one.to_str()) for one in _tokenizers(self.llama)]
        self.trace = work / "seed.trace"
        with Model(open_checkpoint(self.llama), "torch", 1, lambda _: None) as model:
            model.run(ids=[5, 3, 1], max_new_tokens=2, watch=Watch.all()).save(self.trace)
        self.manifest = json.loads((ZOO / "graphs" / "manifest.json").read_text(encoding="utf8"))


def _tokenizers(llama: Path) -> list[tokenizers.Tokenizer]:
    bytewise = tokenizers.Tokenizer.from_file(str(llama / "tokenizer.json"))
    fallback = {"<unk>": 0, "<s>": 1, "</s>": 2, **{f"<0x{byte:02X}>": 3 + byte for byte in range(256)}, "▁a": 259}
    pieces = tokenizers.Tokenizer(
        tokenizer_models.BPE(vocab=fallback, merges=[], byte_fallback=True, unk_token="<unk>")
    )
    pieces.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    pieces.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    pieces.add_special_tokens(["<s>", "</s>"])
    scored = tokenizers.Tokenizer(
        tokenizer_models.Unigram([("<unk>", 0.0), ("▁", -1.0), ("a", -2.0), ("b", -2.5)], 0, False)
    )
    scored.decoder = decoders.Metaspace()
    return [bytewise, pieces, scored]


def kinds(seeds: Seeds) -> dict[str, Kind]:
    """Every kind by its name."""
    return {
        "gguf": Kind(gguf_files.make, gguf_files.use),
        "config": Kind(lambda folder, draw: _config(seeds, folder, draw), _open),
        "tensors": Kind(lambda folder, draw: _tensors(seeds, folder, draw), _open),
        "index": Kind(lambda folder, draw: _index(seeds, folder, draw), _open),
        "tokenizer": Kind(lambda folder, draw: _tokenizer(seeds, folder, draw), _speak),
        "template": Kind(lambda folder, draw: _template(seeds, folder, draw), _converse),
        "trace": Kind(lambda folder, draw: _trace(seeds, folder, draw), _look),
        "manifest": Kind(lambda folder, draw: _manifest(seeds, folder, draw), _bundle),
    }


def _config(seeds: Seeds, folder: Path, draw: Random) -> None:
    own = json.loads((seeds.llama / "config.json").read_text(encoding="utf8"))
    config = draw.choice((own, draw.choice(seeds.configs)))  # the weights fit the first
    raw = text_of(bent(config, draw, seeds.keys), draw)
    (folder / "config.json").write_bytes(damaged(raw, draw) if draw.random() < 0.1 else raw)
    (folder / "model.safetensors").write_bytes(seeds.weights)


def _tensors(seeds: Seeds, folder: Path, draw: Random) -> None:
    shutil.copyfile(seeds.llama / "config.json", folder / "config.json")
    (folder / "model.safetensors").write_bytes(_bent_safetensors(seeds.weights, draw))


def _bent_safetensors(raw: bytes, draw: Random) -> bytes:
    if draw.random() < 0.3:
        return damaged(raw, draw)
    length = int.from_bytes(raw[:8], "little")
    header = text_of(
        bent(json.loads(raw[8 : 8 + length]), draw, ("__metadata__", "dtype", "shape", "data_offsets")), draw
    )
    reported = draw.choice((len(header),) * 8 + (0, 1, len(header) - 1, 2**40, 2**64 - 1))
    return reported.to_bytes(8, "little") + header + raw[8 + length :]


def _index(seeds: Seeds, folder: Path, draw: Random) -> None:
    shutil.copyfile(seeds.llama / "config.json", folder / "config.json")
    names = [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors",
        "._model.safetensors",
    ]
    for name in draw.sample(names, draw.randrange(4)):
        (folder / name).write_bytes(seeds.weights if draw.random() < 0.7 else damaged(seeds.weights, draw))
    length = int.from_bytes(seeds.weights[:8], "little")
    held = [name for name in json.loads(seeds.weights[8 : 8 + length]) if name != "__metadata__"]
    index = {"metadata": {"total_size": 1}, "weight_map": {name: draw.choice(names) for name in held}}
    (folder / "model.safetensors.index.json").write_bytes(text_of(bent(index, draw), draw))


def _tokenizer(seeds: Seeds, folder: Path, draw: Random) -> None:
    value = draw.choice(seeds.tokenizers)
    raw = text_of(bent(value, draw), draw) if draw.random() < 0.8 else json.dumps(value).encode()
    (folder / "tokenizer.json").write_bytes(damaged(raw, draw) if draw.random() < 0.2 else raw)
    _special(folder, draw)


def _special(folder: Path, draw: Random) -> None:
    """Writes some of the files that say what special tokens are."""
    for name, keys in _SAID.items():
        if draw.random() < 0.5:
            (folder / name).write_bytes(text_of(bent(keys, draw) if draw.random() < 0.7 else keys, draw))


def _template(seeds: Seeds, folder: Path, draw: Random) -> None:
    shutil.copyfile(seeds.llama / "tokenizer.json", folder / "tokenizer.json")
    _special(folder, draw)
    raw = template(draw).encode("utf8", "surrogatepass")
    raw = damaged(raw, draw) if draw.random() < 0.1 else raw
    if draw.random() < 0.6:
        (folder / "chat_template.jinja").write_bytes(raw)
        return
    held: Any = raw.decode("utf8", "replace")
    held = draw.choice((held, held, [{"name": "default", "template": held}], [{"name": "a", "template": held}], *ODD))
    name = draw.choice(("tokenizer_config.json", "chat_template.json"))
    (folder / name).write_bytes(text_of({"chat_template": held}, draw))


def _trace(seeds: Seeds, folder: Path, draw: Random) -> None:
    raw = seeds.trace.read_bytes()
    if draw.random() < 0.3:
        (folder / "a.trace").write_bytes(damaged(raw, draw))
        return
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    if draw.random() < 0.7:
        record = json.loads(header["__metadata__"]["record"])
        if draw.random() < 0.5:
            record["spec"] = json.dumps(bent(json.loads(record["spec"]), draw))
        else:
            record = bent(record, draw)
        header["__metadata__"]["record"] = json.dumps(record)
    else:
        header = bent(header, draw)
    text = json.dumps(header).encode()
    (folder / "a.trace").write_bytes(len(text).to_bytes(8, "little") + text + raw[8 + length :])


def _manifest(seeds: Seeds, folder: Path, draw: Random) -> None:
    raw = text_of(bent(seeds.manifest, draw), draw)
    (folder / "manifest.json").write_bytes(damaged(raw, draw) if draw.random() < 0.2 else raw)


def _open(folder: Path, draw: Random) -> None:
    checkpoint = open_checkpoint(folder)
    for name in parameter_shapes(checkpoint.spec):
        np.asarray(checkpoint.weights[name]).sum()
    assert checkpoint.stored_bytes >= 0


def _speak(folder: Path, draw: Random) -> None:
    tokenizer = open_tokenizer(folder)
    if tokenizer is not None:
        _try_tokens(tokenizer, draw)


def _try_tokens(tokenizer: Tokenizer, draw: Random) -> None:
    ids = tokenizer.encode("a b\n\U0001f600 <s>")
    tokenizer.encode_spelled("a</s>")
    ids += [draw.randrange(300) for _ in range(8)] + [10**6]
    stream = TextStream(tokenizer, ids[:2])
    for id in ids:
        stream.add(id)
        tokenizer.piece(id)
    tokenizer.decode(ids)
    tokenizer.continuation(ids[:3], ids[3:])


def _converse(folder: Path, draw: Random) -> None:
    open_tokenizer(folder)
    found = open_chat_template(folder, {"bos_token": "<s>"})
    if found is not None:
        found.text_of(
            [Turn("system", "Be brief."), Turn("user", "Hi \U0001f600"), Turn("assistant", "<a>"), Turn("user", "x")]
        )


def _look(folder: Path, draw: Random) -> None:
    trace = edge.open_trace(folder / "a.trace")
    layer = draw.randrange(max(1, trace.spec.n_layers))
    trace.pattern(layer=layer, head=0)
    trace.neurons(layer=layer)
    trace.site(f"layers.{layer}.attn.output")
    assert (isinstance(trace.text, str) and trace.timing.tokens_per_second is not None) or trace.tokens is not None


def _bundle(folder: Path, draw: Random) -> None:
    is_bundle(folder)
    manifest = read_manifest(folder)
    if manifest is not None:
        open_bundle(folder, manifest.spec)
