"""The training text: converts books to tokens once, and stores the tokens and the tokenizer as files."""

import hashlib
import json
import lzma
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt16
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from models.errors import CheckpointError, MisuseError

END_OF_TEXT = "<|endoftext|>"
BOOKS = Path("../shared/data/books")
SAMPLE_BYTES = 24_000_000
"""Amount of text that the tokenizer is trained on: a quarter of the books, which takes about a minute."""

_BATCH = 64


@dataclass(frozen=True)
class Corpus:
    """Tokens of the training and validation text.

    Attributes:
        train, valid: Every document followed by the end-of-text token.
        token_bytes: Number of UTF-8 bytes of each token of the vocabulary; 0 for the end-of-text token.
        sources: SHA-256 of each text file, by name.
    """

    tokenizer: Tokenizer
    train: UInt16[np.ndarray, " _"]
    valid: UInt16[np.ndarray, " _"]
    token_bytes: Int[np.ndarray, " vocab"]
    sources: dict[str, str]

    @property
    def end_of_text(self) -> int:
        """Id of the token between two documents."""
        return end_of_text(self.tokenizer)


def end_of_text(tokenizer: Tokenizer) -> int:
    """Id of the token that ends a document."""
    id = tokenizer.token_to_id(END_OF_TEXT)
    if id is None:
        raise CheckpointError(f"the tokenizer has no token {END_OF_TEXT}; delete its folder to create it again")
    return int(id)


def documents(file: Path) -> Iterator[str]:
    """The documents of one xz file, each of which ends with a line `<|endoftext|>`."""
    lines: list[str] = []
    with lzma.open(file, "rt", encoding="utf-8", newline="\n") as text:
        for line in text:
            if line.rstrip("\n").endswith(END_OF_TEXT):
                lines.append(line.rstrip("\n").removesuffix(END_OF_TEXT))
                yield "".join(lines).strip()
                lines = []
            else:
                lines.append(line)
    if rest := "".join(lines).strip():
        yield rest


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE tokenizer: it encodes every text, and decoding restores all bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def token_bytes(tokenizer: Tokenizer) -> Int[np.ndarray, " vocab"]:
    """Number of bytes of each token. A byte-level token has one character per byte."""
    spelled = [tokenizer.id_to_token(id) or "" for id in range(tokenizer.get_vocab_size())]
    return np.array([0 if token == END_OF_TEXT else len(token) for token in spelled], np.int64)


def open_corpus(books: Path, work: Path, vocab_size: int) -> Corpus:
    """The corpus of the books in `books`; missing tokenizer and tokens are created in `work`."""
    files = {name: books / f"{name}.txt.xz" for name in ("train", "valid")}
    for file in files.values():
        if not file.is_file():
            raise MisuseError(f"no training text at {file}; pass --books a folder with train.txt.xz and valid.txt.xz")
    sources = {file.name: _sha256(file) for file in files.values()}
    record = {"vocab_size": vocab_size, "sources": sources}
    made = work / "corpus.json"
    if not made.is_file() or json.loads(made.read_text()) != record:
        _make(files, work, vocab_size)
        made.write_text(json.dumps(record, indent=2))
    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    train, valid = (np.memmap(work / f"{name}.uint16", np.uint16, "r") for name in files)
    return Corpus(tokenizer, train, valid, token_bytes(tokenizer), sources)


def _make(files: dict[str, Path], work: Path, vocab_size: int) -> None:
    work.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(_sample(files["train"]), vocab_size)
    tokenizer.save(str(work / "tokenizer.json"))
    end = end_of_text(tokenizer)
    for name, file in files.items():
        partial = work / f"{name}.uint16.partial"
        with partial.open("wb") as out:
            for texts in _batches(documents(file)):
                for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
                    np.array([*encoding.ids, end], np.uint16).tofile(out)
        os.replace(partial, work / f"{name}.uint16")


def _sample(file: Path) -> Iterator[str]:
    """Every fourth document up to `SAMPLE_BYTES`, since neighboring documents are books by one author."""
    room = SAMPLE_BYTES
    for index, text in enumerate(documents(file)):
        if index % 4 == 0 and room > 0:
            room -= len(text)
            yield text


def _batches(texts: Iterator[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
