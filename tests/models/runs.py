"""A training run small enough for tests: its recipe, and the words of its books."""

import lzma
from dataclasses import replace
from pathlib import Path

import numpy as np

from models.training.corpus import END_OF_TEXT, Corpus
from models.training.recipe import FABLE, Recipe
from models.training.train import read_log, start, train

TINY = replace(
    FABLE,
    vocab_size=300,
    d_model=16,
    n_heads=2,
    n_layers=2,
    length=24,
    batch=2,
    steps=6,
    finish_steps=0,
    warmup=2,
    looking_back=1,
    copy_steps=3,
    bfloat16=False,
    log_every=1,
    valid_every=3,
    save_every=3,
    valid_tokens=96,
)

_WORDS = ("the", "old", "fox", "ran", "over", "a", "green", "hill", "and", "saw", "moonlight", "on", "wide", "rivers")


def write_books(folder: Path) -> None:
    """Writes training and validation text: eight documents each."""
    for seed, name in enumerate(("train", "valid")):
        random = np.random.default_rng(seed)
        texts = [" ".join(random.choice(_WORDS, 120)) + "." for _ in range(8)]
        with lzma.open(folder / f"{name}.txt.xz", "wt", encoding="utf-8") as file:
            file.write("".join(f"{text}\n{END_OF_TEXT}\n" for text in texts))


def losses(folder: Path) -> list[float]:
    """The losses that a run logged."""
    return [line["loss"] for line in read_log(folder) if line["kind"] == "loss"]


def run(corpus: Corpus, folder: Path, recipe: Recipe = TINY, stop_at: int | None = None) -> list[float]:
    """Trains in `folder`, which is made, and returns the losses."""
    folder.mkdir(exist_ok=True)
    train(start(recipe), corpus, folder, compiled=False, stop_at=stop_at)
    return losses(folder)
