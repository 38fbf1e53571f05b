"""Trains one bundled model: `python -m models.training.train fable-relu --out .training/fable-relu`."""

import argparse
import json
import math
import os
import platform
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.decoder import FFN, Block, Decoder
from models.errors import EdgeError, MisuseError
from models.training.batches import UNSCORED, batch_at
from models.training.copying import BATCH, LAYERS, LENGTH, learn_to_copy, look_back
from models.training.corpus import BOOKS, Corpus, open_corpus
from models.training.induction import induction_scores
from models.training.lessons import Lessons
from models.training.losses import Loss, balanced_loss, summed_loss
from models.training.recipe import Recipe, from_json, recipe_of, to_json
from models.zoo.facts import table_hashes

LOG, STATE = "log.jsonl", "state.pt"


@dataclass
class State:
    """The state of a run between two steps, from which it can be resumed. Batches depend on the step only.

    Attributes:
        step: Number of finished steps.
        seconds: Wall time of these steps, in seconds, over all parts of the run.
    """

    recipe: Recipe
    decoder: Decoder
    optimizer: torch.optim.AdamW
    step: int
    seconds: float


def new_decoder(recipe: Recipe) -> Decoder:
    """A decoder with the initial weights of GPT-NeoX: normal, with smaller ones in the output projections."""
    decoder = Decoder(recipe.spec)
    random = torch.Generator().manual_seed(recipe.seed)
    for name, parameter in decoder.named_parameters():
        if name.endswith(".bias"):
            torch.nn.init.zeros_(parameter)
        elif "norm" in name:
            torch.nn.init.ones_(parameter)
        else:
            torch.nn.init.normal_(parameter, std=_start_std(recipe, name), generator=random)
    look_back(decoder, recipe.looking_back)
    return decoder


def _start_std(recipe: Recipe, name: str) -> float:
    if name == "embed.weight":
        return 0.5  # large, so that rare tokens still differ after the first steps, which move all of them the same way
    if recipe.copy_steps and name in {f"layers.{layer}.attn.out.weight" for layer in range(LAYERS)}:
        return 0.1  # large enough that the next layer can use the output of heads next to a large embedding
    if name.endswith(("attn.out.weight", "ffn.down.weight", "experts.down.weight")):
        return 0.04 / math.sqrt(2 * recipe.n_layers)
    return 0.04


def new_optimizer(recipe: Recipe, decoder: Decoder) -> torch.optim.AdamW:
    """AdamW that decays the matrices inside the layers and the head."""
    decayed: list[Tensor] = []
    others: list[Tensor] = []
    for name, parameter in decoder.named_parameters():
        (decayed if parameter.dim() >= 2 and name != "embed.weight" else others).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.peak_rate, betas=recipe.betas, fused=True)


def start(recipe: Recipe) -> State:
    """A run before its first step."""
    decoder = new_decoder(recipe)
    return State(recipe, decoder, new_optimizer(recipe, decoder), step=0, seconds=0.0)


def save_state(state: State, folder: Path) -> None:
    """Writes the state of the run. The file is replaced at once, so that no process reads a partial file."""
    partial = folder / f"{STATE}.partial"
    record = {
        "recipe": json.dumps(to_json(state.recipe)),
        "decoder": state.decoder.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "step": state.step,
        "seconds": state.seconds,
    }
    torch.save(record, partial)
    os.replace(partial, folder / STATE)


def open_state(folder: Path) -> State:
    """The state that `save_state` wrote."""
    if not (folder / STATE).is_file():
        raise MisuseError(f"no training run to resume at {folder / STATE}; remove --resume to start a new run")
    record: dict[str, Any] = torch.load(folder / STATE, weights_only=True)
    state = start(from_json(json.loads(record["recipe"])))
    state.decoder.load_state_dict(record["decoder"])
    state.optimizer.load_state_dict(record["optimizer"])
    state.step, state.seconds = record["step"], record["seconds"]
    return state


def bits_per_byte(recipe: Recipe, corpus: Corpus, loss: Loss, tokens: int) -> float:
    """Cross-entropy of the first `tokens` validation tokens in bits per byte; each window has an empty context."""
    width = recipe.length
    windows = min(tokens, len(corpus.valid) - 1) // width // recipe.batch * recipe.batch
    if not windows:
        minimum = recipe.batch * width + 1
        raise MisuseError(f"the validation text has {len(corpus.valid)} tokens; the minimum is {minimum}")
    ids = torch.from_numpy(corpus.valid[: windows * width + 1].astype(np.int64))
    nats = 0.0
    with torch.no_grad():
        for first in range(0, windows * width, recipe.step_tokens):
            piece = ids[first : first + recipe.step_tokens + 1]
            nats += loss(piece[:-1].view(-1, width), piece[1:].view(-1, width)).item()
    return float(nats / np.log(2) / corpus.token_bytes[ids[1:].numpy()].sum())


def shorten_keys(decoder: Decoder, longest: float) -> None:
    """Rescales every row of an FFN's up projection whose norm is above `longest`."""
    with torch.no_grad():
        for block in decoder.layers:
            assert isinstance(block, Block)
            if isinstance(block.ffn, FFN):
                block.ffn.up.weight.copy_(torch.renorm(block.ffn.up.weight, p=2, dim=0, maxnorm=longest))


def take_step(state: State, corpus: Corpus, lessons: Lessons, loss: Loss) -> float:
    """One update; returns the loss before it, in nats per token."""
    batch = batch_at(state.recipe, corpus.train, lessons, state.step)
    rate = state.recipe.rate(state.step)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    ids, targets = torch.from_numpy(batch.ids), torch.from_numpy(batch.targets)
    mean = loss(ids, targets) / int((batch.targets != UNSCORED).sum())
    mean.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(state.decoder.parameters(), state.recipe.clip)
    state.optimizer.step()
    shorten_keys(state.decoder, state.recipe.key_norm_at(state.step))
    state.optimizer.zero_grad(set_to_none=True)
    state.step += 1
    return mean.item()


def _leads_to(record: dict[str, Any], step: int) -> bool:
    """Whether a line belongs to a run resumed at `step`; an earlier run that began at this step was abandoned."""
    return bool(record["step"] < step or (record["step"] == step and record["kind"] != "begin"))


class Log:
    """The log of a run as JSON lines: begin, losses, validations. A resumed run removes the lines after its step."""

    def __init__(self, folder: Path, step: int) -> None:
        self._file = folder / LOG
        kept = [record for record in read_log(folder) if _leads_to(record, step)] if step else []
        self._file.write_text("".join(f"{json.dumps(record)}\n" for record in kept))

    def add(self, **record: Any) -> None:
        """Appends one line and flushes it."""
        with self._file.open("a") as lines:
            lines.write(f"{json.dumps(record)}\n")


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Every line of a run's log."""
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def train(state: State, corpus: Corpus, folder: Path, *, compiled: bool, stop_at: int | None = None) -> None:
    """Trains to the last step, or to `stop_at`; writes the log and the state to `folder`."""
    recipe, log, lessons = state.recipe, Log(folder, state.step), Lessons(corpus.tokenizer)
    plain = summed_loss(state.decoder, recipe.bfloat16)
    loss: Loss = torch.compile(plain) if compiled else plain
    taught = loss
    if recipe.n_experts > 1:
        balanced = balanced_loss(state.decoder, recipe)
        taught = torch.compile(balanced) if compiled else balanced
    sources = corpus.sources | table_hashes()
    log.add(kind="begin", step=state.step, recipe=to_json(recipe), sources=sources, machine=_machine(compiled))
    began, losses = time.perf_counter() - state.seconds, []
    if state.step == 0:
        copy_first(state, corpus, log, compiled)
    end = recipe.all_steps if stop_at is None else min(stop_at, recipe.all_steps)
    while state.step < end:
        losses.append(take_step(state, corpus, lessons, taught))
        state.seconds = time.perf_counter() - began
        done, last = state.step, state.step == end
        if done % recipe.log_every == 0 or last:
            log.add(**_progress(state), kind="loss", loss=float(np.mean(losses)), rate=recipe.rate(done - 1))
            losses = []
        if done % recipe.valid_every == 0 or last:
            bits = bits_per_byte(recipe, corpus, loss, recipe.valid_tokens)
            induction = induction_scores(state.decoder, recipe.seed).max(axis=1).tolist()
            log.add(**_progress(state), kind="valid", bits_per_byte=bits, induction=induction)
        if done % recipe.save_every == 0 or last:
            save_state(state, folder)


def copy_first(state: State, corpus: Corpus, log: Log, compiled: bool) -> None:
    """Runs the updates before the first step, in which attention learns to copy."""
    recipe, losses = state.recipe, list[float]()
    for update, loss in enumerate(learn_to_copy(recipe, state.decoder, corpus.train, compiled), 1):
        losses.append(loss)
        if update % recipe.log_every == 0 or update == recipe.copy_steps:
            tokens = update * BATCH * LENGTH
            log.add(step=0, kind="copying", updates=update, tokens=tokens, loss=float(np.mean(losses)))
            losses = []


def _progress(state: State) -> dict[str, Any]:
    return {"step": state.step, "tokens": state.step * state.recipe.step_tokens, "seconds": round(state.seconds, 1)}


def _machine(compiled: bool) -> dict[str, Any]:
    return {
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "compiled": compiled,
    }


def main(arguments: list[str] | None = None) -> int:
    """The command. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m models.training.train", description=__doc__)
    parser.add_argument("name", help="fable-relu, fable-gelu or fable-moe")
    parser.add_argument("--out", type=Path, required=True, help="folder for the log and the state of this run")
    parser.add_argument("--books", type=Path, default=BOOKS, help="folder with train.txt.xz and valid.txt.xz")
    parser.add_argument("--work", type=Path, default=Path(".training/corpus"), help="folder for tokenizer and tokens")
    parser.add_argument("--steps", type=int, help="updates before the finish; default: those of the recipe")
    parser.add_argument("--threads", type=int, default=1, help="number of CPU threads")
    parser.add_argument("--resume", action="store_true", help="resume the run in --out")
    chosen = parser.parse_args(arguments)
    try:
        torch.set_num_threads(chosen.threads)
        chosen.out.mkdir(parents=True, exist_ok=True)
        recipe = recipe_of(chosen.name)
        state = open_state(chosen.out) if chosen.resume else start(recipe)
        if replace(state.recipe, steps=recipe.steps) != recipe:
            raise MisuseError(f"the run in {chosen.out} has another recipe than {chosen.name}")
        state.recipe = replace(state.recipe, steps=chosen.steps or state.recipe.steps)
        train(state, open_corpus(chosen.books, chosen.work, recipe.vocab_size), chosen.out, compiled=True)
    except EdgeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
