"""Made-up GGUF files for the campaign: small good ones, damaged at any field or byte."""

import tracemalloc
from pathlib import Path
from random import Random

import numpy as np

from models.sources.gguf.file import open_gguf
from tests.campaign.mutate import damaged
from tests.models.sources.gguf_writer import KeyValue, Tensor, header_pieces, write_split_gguf

_SMALL = 1 << 20
"""Memory in bytes that a file may take in addition to twice its size."""

_ODD = (0, 1, 2, 4, 5, 7, 8, 9, 12, 13, 31, 33, 255, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_ODD_LONG = (*_ODD, 2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 32, 2**64 - 8, 2**64 - 1)
"""Counts, lengths, sizes, types and offsets that hostile files have."""


def make(folder: Path, draw: Random) -> None:
    """Writes one file, or two parts of which one is damaged."""
    if draw.random() < 0.15:
        files = write_split_gguf(folder, "made", _keys(draw), [_tensors("a", draw), _tensors("b", draw)])
        part = draw.choice(files)
        part.write_bytes(damaged(part.read_bytes(), draw))
        return
    alignment = draw.choice((32, 32, 8, 64))
    keys: dict[str, KeyValue] = {"general.alignment": np.uint32(alignment), **_keys(draw)}
    tensors = _tensors("blk.0.", draw)
    pieces = header_pieces(keys, tensors, alignment)
    for _ in range(draw.choice((0, 1, 1, 1, 2, 4))):
        _damage_field(pieces, draw)
    raw = b"".join(pieces)
    raw += bytes(-len(raw) % alignment)
    header_bytes = len(raw)
    raw += b"".join(blocks + bytes(-len(blocks) % alignment) for _, _, blocks in tensors.values())
    (folder / "made.gguf").write_bytes(_damaged_bytes(raw, header_bytes, draw))


def use(folder: Path, draw: Random) -> None:
    """Opens the file and reads its tensors; the header may not take much more memory than the file."""
    file = draw.choice(sorted(folder.glob("*.gguf")))
    size = sum(part.stat().st_size for part in folder.glob("*.gguf"))
    tracemalloc.start()
    try:
        opened = open_gguf(file)
    finally:
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak_bytes <= 2 * size + _SMALL, f"{size:,} bytes take {peak_bytes:,} bytes of memory"
    for tensor in opened.tensors.values():
        rows = tensor.rows()
        assert rows.nbytes == tensor.stored_bytes and rows.sum() >= 0


def _keys(draw: Random) -> dict[str, KeyValue]:
    keys: dict[str, KeyValue] = {
        "general.architecture": "llama",
        "llama.block_count": 2,
        "llama.rope.freq_base": 10000.0,
        "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.tokens": ["a", "b", "ab", "", "é"],
        "tokenizer.ggml.scores": np.array([0, -1, -2, -3, -4], np.float32),
        "tokenizer.ggml.token_type": np.ones(5, np.int32),
        "llama.pattern": np.array([True, False]),
        "x.u8": np.uint8(1),
        "x.i8": np.int8(-1),
        "x.u16": np.uint16(1),
        "x.i16": np.int16(-1),
        "x.u64": np.uint64(1),
        "x.i64": np.int64(-1),
        "x.f64": np.float64(0.5),
    }
    return {key: keys[key] for key in draw.sample(sorted(keys), draw.randrange(len(keys) + 1))}


def _tensors(prefix: str, draw: Random) -> dict[str, Tensor]:
    kinds: tuple[Tensor, ...] = (
        (0, (3, 5), draw.randbytes(60)),
        (1, (7,), draw.randbytes(14)),
        (2, (2, 64), draw.randbytes(72)),
        (8, (2, 3, 32), draw.randbytes(204)),
        (12, (1, 256), draw.randbytes(144)),
    )
    return {f"{prefix}{letter}": draw.choice(kinds) for letter in "stuv"[: draw.randrange(5)]}


def _damage_field(pieces: list[bytes], draw: Random) -> None:
    """Replaces, repeats or removes a field. Fields that contain a number get an odd one most of the time."""
    at = draw.randrange(len(pieces))
    if draw.random() < 0.7:
        numbers = [place for place, piece in enumerate(pieces) if len(piece) in (4, 8)]
        at = draw.choice(numbers)
        odd = draw.choice(_ODD if len(pieces[at]) == 4 else _ODD_LONG)
        near = int.from_bytes(pieces[at], "little") + draw.choice((-1, 1))
        number = draw.choice((odd, odd, near)) % 256 ** len(pieces[at])
        pieces[at] = number.to_bytes(len(pieces[at]), "little")
    elif draw.random() < 0.5:
        pieces[at] = draw.choice([piece for piece in pieces if len(piece) == len(pieces[at])])
    else:
        pieces[at : at + 1] = draw.choice(([], [pieces[at]] * 2, [b"\xff" * len(pieces[at])], pieces[at : at + 9] * 2))


def _damaged_bytes(raw: bytes, header_bytes: int, draw: Random) -> bytes:
    chance = draw.random()
    if chance < 0.15:
        return raw[: draw.randrange(len(raw) + 1)]
    if chance < 0.3:
        return damaged(raw, draw)
    if chance < 0.45:
        flipped = bytearray(raw)
        for _ in range(draw.choice((1, 1, 3, 20))):
            flipped[draw.randrange(header_bytes)] ^= 1 << draw.randrange(8)
        return bytes(flipped)
    return raw
