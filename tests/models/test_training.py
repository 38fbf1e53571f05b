"""Training is repeatable, repeats really repeat, and what is saved is what was trained."""

import hashlib
import json
import lzma
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.checkpoint import open_checkpoint
from models.errors import MisuseError, SpecError
from models.kernels import FullPass
from models.parameters import parameter_count
from models.spec import Activation
from models.tokenizer import open_tokenizer
from models.training import save
from models.training.batches import UNSCORED, batch_at, repeat_noise, repeat_text
from models.training.card import card_of
from models.training.corpus import END_OF_TEXT, Corpus, documents, open_corpus
from models.training.evaluate import PROMPTS, copied_share, evaluate, exact_zeros
from models.training.kernels import BLOCK, BlockPass
from models.training.recipe import FABLE, RECIPES, Recipe, from_json, recipe_of, to_json
from models.training.save import save_folder
from models.training.train import new_decoder, open_state, read_log, start, summed_loss, train
from models.zoo import zoo_folder, zoo_names

TINY = replace(
    FABLE,
    vocab_size=300,
    d_model=16,
    n_heads=2,
    n_layers=2,
    length=24,
    batch=2,
    steps=6,
    warmup=2,
    bfloat16=False,
    log_every=1,
    valid_every=3,
    save_every=3,
    valid_tokens=96,
)

WORDS = ("the", "old", "fox", "ran", "over", "a", "green", "hill", "and", "saw", "moonlight", "on", "wide", "rivers")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors on several threads take longer than on one, and sums may come in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with books of a few words in it; their tokens are kept there too."""
    work = tmp_path_factory.mktemp("work")
    for seed, name in enumerate(("train", "valid")):
        random = np.random.default_rng(seed)
        texts = [" ".join(random.choice(WORDS, 120)) + "." for _ in range(8)]
        with lzma.open(work / f"{name}.txt.xz", "wt", encoding="utf-8") as file:
            file.write("".join(f"{text}\n{END_OF_TEXT}\n" for text in texts))
    return work


@pytest.fixture(scope="module")
def corpus(work: Path) -> Corpus:
    return open_corpus(work, work, TINY.vocab_size)


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_log(folder) if line["kind"] == "loss"]


def run(corpus: Corpus, folder: Path, recipe: Recipe = TINY, stop_at: int | None = None) -> list[float]:
    train(start(recipe), corpus, folder, compiled=False, stop_at=stop_at)
    return losses(folder)


def test_documents_are_cut_at_their_end_line(tmp_path: Path) -> None:
    with lzma.open(tmp_path / "text.xz", "wt", encoding="utf-8") as file:
        file.write(f"one\n\ntwo{END_OF_TEXT}\nthree\n{END_OF_TEXT}\nfour\n")
    assert list(documents(tmp_path / "text.xz")) == ["one\n\ntwo", "three", "four"]


def test_tokens_give_the_text_back_and_count_its_bytes(corpus: Corpus) -> None:
    """The tokens of the validation text decode to it; each document ends with one end-of-text token."""
    ids = corpus.valid.tolist()
    assert ids.count(corpus.end_of_text) == 8, "eight documents should have eight ends"
    text = corpus.tokenizer.decode(ids, skip_special_tokens=True)
    counted = int(corpus.token_bytes[corpus.valid].sum())
    assert counted == len(text.encode()), f"token_bytes counts {counted} bytes, the text has {len(text.encode())}"


def test_a_corpus_without_its_files_says_which_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match=r"no training text at .*train\.txt\.xz"):
        open_corpus(tmp_path, tmp_path, 300)


def test_batches_depend_on_seed_and_step_alone(corpus: Corpus) -> None:
    """Twins see the same text, however long they train; another step or seed sees another."""
    twin = replace(TINY, activation=Activation.GELU, steps=99)
    for step in range(4):
        ours, theirs = batch_at(TINY, corpus.train, step), batch_at(twin, corpus.train, step)
        assert np.array_equal(ours.ids, theirs.ids), f"the twins' ids differ at step {step}"
        assert np.array_equal(ours.targets, theirs.targets), f"the twins' targets differ at step {step}"
    first, second = batch_at(TINY, corpus.train, 0), batch_at(TINY, corpus.train, 1)
    assert not np.array_equal(first.ids, second.ids), "two steps drew the same batch"
    reseeded = batch_at(replace(TINY, seed=1), corpus.train, 0)
    assert not np.array_equal(first.ids, reseeded.ids), "two seeds drew the same batch"


def test_targets_are_the_tokens_that_follow(corpus: Corpus) -> None:
    for step in range(20):
        batch = batch_at(replace(TINY, repeat_share=0.5), corpus.train, step)
        scored = batch.targets[:, :-1] != UNSCORED
        assert np.array_equal(batch.targets[:, :-1][scored], batch.ids[:, 1:][scored]), f"step {step} is misaligned"


def test_the_share_of_repeats_is_the_recipes(corpus: Corpus) -> None:
    recipe = replace(TINY, batch=400)
    plain = batch_at(replace(recipe, repeat_share=0.0), corpus.train, 0).ids
    changed = (batch_at(recipe, corpus.train, 0).ids != plain).any(axis=1).mean()
    assert 0.08 < changed < 0.22, f"{changed:.0%} of the sequences repeat, the recipe says {recipe.repeat_share:.0%}"


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("width", [25, 513])
def test_repeated_text_stands_twice(width: int, seed: int) -> None:
    """One span of the row is a copy of an earlier one, whole and without overlap; the rest is untouched."""
    row = np.arange(width)
    targets = repeat_text(row, np.random.default_rng(seed))
    copied = np.flatnonzero(row != np.arange(width))
    span = copied[-1] - copied[0] + 1
    source = row[copied[0]]
    assert np.array_equal(copied, np.arange(copied[0], copied[0] + span)), "the copy has holes"
    assert np.array_equal(row[copied], np.arange(source, source + span)), "the copy is not the span it repeats"
    assert source + span <= copied[0], f"tokens {source}..{source + span} overlap their copy at {copied[0]}"
    assert np.array_equal(targets, row), "text that repeats is scored like any other"


@pytest.mark.parametrize("seed", range(20))
def test_repeated_noise_is_scored_from_its_second_round_on(seed: int) -> None:
    row = np.zeros(513, np.int64)
    targets = repeat_noise(row, 4_096, np.random.default_rng(seed))
    span = int((targets == UNSCORED).sum())
    assert 16 <= span < 257, f"a round of {span} tokens"
    assert np.array_equal(row[span:], row[:-span]), f"the tokens do not come again after {span}"
    assert np.array_equal(targets[span:], row[span:]), "a token that comes again is not scored"


@pytest.mark.parametrize("length", [BLOCK, 2 * BLOCK, 40])
def test_block_by_block_attention_is_attention(length: int) -> None:
    """Training computes what the full pass computes, to float32 rounding, at lengths that divide and that do not."""
    recipe = replace(TINY, length=length)
    decoder, ids = new_decoder(recipe), torch.arange(2 * length).view(2, length) % recipe.vocab_size
    whole, blocks = FullPass(length), BlockPass(length)
    with torch.no_grad():
        worst = (decoder(ids, whole.positions, whole) - decoder(ids, blocks.positions, blocks)).abs().max().item()
    assert worst < 1e-5, f"blocks leave the full pass by {worst:.2g} at {length} tokens"


def test_the_learning_rate_climbs_stays_and_falls() -> None:
    rates = [FABLE.rate(step) for step in range(FABLE.steps)]
    assert rates[FABLE.warmup - 1] == FABLE.peak_rate == rates[FABLE.decay_start - 1]
    assert all(np.diff(rates[: FABLE.warmup]) > 0), "the warm-up does not climb"
    assert all(np.diff(rates[FABLE.decay_start - 1 :]) < 0), "the decay does not fall"
    assert 0 < rates[-1] < FABLE.peak_rate / 100, f"the last step still learns at {rates[-1]:.2g}"


def test_the_same_run_twice_has_the_same_losses(corpus: Corpus, tmp_path: Path) -> None:
    runs = []
    for name in ("once", "again"):
        (tmp_path / name).mkdir()
        runs.append(run(corpus, tmp_path / name, stop_at=3))
    assert len(runs[0]) == 3, f"three steps logged {len(runs[0])} losses"
    assert runs[0] == runs[1], f"the same seed gave {runs[0]} and then {runs[1]}"


def test_a_resumed_run_goes_on_as_if_never_stopped(corpus: Corpus, tmp_path: Path) -> None:
    """Stopped at step 4 and resumed from the state of step 3: same losses, same weights, each step logged once."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    want = run(corpus, whole)
    train(start(TINY), corpus, parts, compiled=False, stop_at=3)
    with (parts / "log.jsonl").open("a") as log:
        log.write(json.dumps({"kind": "loss", "step": 4, "loss": 0.0}) + "\n")
    train(open_state(parts), corpus, parts, compiled=False)
    assert losses(parts) == want, f"resumed losses {losses(parts)} leave {want}"
    ends = open_state(whole).decoder.state_dict(), open_state(parts).decoder.state_dict()
    for name, weight in ends[0].items():
        assert torch.equal(weight, ends[1][name]), f"{name} differs after the resume"


def test_training_learns(corpus: Corpus, tmp_path: Path) -> None:
    """A hundred tiny steps bring the loss well below that of the first ones."""
    run(corpus, tmp_path, replace(TINY, steps=100, valid_every=1_000, save_every=1_000, log_every=20, peak_rate=1e-2))
    first, *_, last = losses(tmp_path)
    assert last < 0.85 * first, f"the loss went from {first:.2f} to {last:.2f} only"


def test_twins_start_alike() -> None:
    relu, gelu = (new_decoder(replace(TINY, activation=kind)) for kind in (Activation.RELU, Activation.GELU))
    for name, weight in relu.state_dict().items():
        assert torch.equal(weight, gelu.state_dict()[name]), f"{name} starts differently in the twins"


def test_the_zoos_recipes_are_twins() -> None:
    relu, gelu = RECIPES["fable-relu"], RECIPES["fable-gelu"]
    assert replace(relu, activation=gelu.activation) == gelu, "the twins differ in more than their activation"
    assert parameter_count(relu.spec) < 9_000_000, f"{parameter_count(relu.spec):,} parameters"


def test_a_recipe_survives_json() -> None:
    assert from_json(json.loads(json.dumps(to_json(FABLE)))) == FABLE


def test_an_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(MisuseError, match="no recipe 'fable'; there are fable-relu, fable-gelu"):
        recipe_of("fable")


def test_a_run_that_is_not_there_cannot_go_on(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="no training run to go on with"):
        open_state(tmp_path)


@pytest.mark.parametrize("activation", [Activation.RELU, Activation.GELU])
def test_transformers_reads_what_was_saved(corpus: Corpus, tmp_path: Path, activation: Activation) -> None:
    """A saved folder gives transformers, and Edge, the decoder that was saved, to float16 rounding."""
    transformers = pytest.importorskip("transformers")
    recipe = replace(TINY, activation=activation)
    decoder = new_decoder(recipe)
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(parameter.numel()))
        parameter.data = parameter.data.half().float()
    save_folder(decoder, corpus.tokenizer, tmp_path)
    ids, kernels = torch.arange(24)[None] * 7 % recipe.vocab_size, FullPass(24)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    with torch.no_grad():
        want, found = decoder(ids, kernels.positions, kernels), theirs(ids).logits
    worst = (want - found).abs().max().item()
    assert worst < 1e-3, f"transformers leaves the decoder by {worst:.2g}"
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.spec == recipe.spec, f"the config says {checkpoint.spec}, not what was trained"
    for name, weight in decoder.state_dict().items():
        assert np.array_equal(checkpoint.weights[name], weight.half().numpy()), f"{name} was not saved as it is"


def test_the_saved_tokenizer_is_the_corpus_tokenizer(corpus: Corpus, tmp_path: Path) -> None:
    save_folder(new_decoder(TINY), corpus.tokenizer, tmp_path)
    tokenizer = open_tokenizer(tmp_path)
    assert tokenizer is not None, "no tokenizer was saved"
    text = "The old fox saw éclairs — twice."
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.stop_tokens == (corpus.end_of_text,), f"{tokenizer.stop_tokens} end a text"


def test_the_card_tells_what_the_log_and_the_files_tell(corpus: Corpus, work: Path, tmp_path: Path) -> None:
    """A run that was stopped, resumed with more steps and saved: its card holds the figures of all of that."""
    train(start(TINY), corpus, tmp_path, compiled=False, stop_at=3)
    state = open_state(tmp_path)
    state.recipe = replace(state.recipe, steps=9)
    train(state, corpus, tmp_path, compiled=False, stop_at=8)
    zoo = tmp_path / "zoo"
    assert save.main(["fable-relu", "--run", str(tmp_path), "--work", str(work), "--zoo", str(zoo)]) == 0
    evaluation = evaluate(zoo / "fable-relu", TINY, corpus)
    text = card_of("fable-relu", zoo / "fable-relu", evaluation)
    digest = hashlib.sha256((zoo / "fable-relu" / "model.safetensors").read_bytes()).hexdigest()
    for figure in (
        f"| tokens learned from | {8 * TINY.step_tokens:,}, in 8 steps of {TINY.step_tokens} |",
        "| final step | 8 of 9 |",
        "| resumed | at step 3, from then on towards 9 steps in all |",
        f"**{evaluation.bits_per_byte:.3f} bits per byte** over all {len(corpus.valid):,} tokens",
        digest,
    ):
        assert figure in text, f"the card lacks '{figure}':\n{text}"
    assert [prompt for prompt, _ in evaluation.samples] == list(PROMPTS), "a sample was left out"


def test_figures_of_a_decoder_that_guesses(corpus: Corpus) -> None:
    """A fresh ReLU decoder has about half its neurons at 0 and copies nothing; a GELU one has no zeros at all."""
    ids = torch.from_numpy(corpus.valid[: 4 * TINY.length].astype(np.int64)).view(4, -1)
    relu, gelu = (new_decoder(replace(TINY, activation=kind)) for kind in (Activation.RELU, Activation.GELU))
    zeros, never = exact_zeros(relu, ids)
    assert all(0.3 < share < 0.7 for share in zeros), f"{zeros} of ReLU's neurons are 0, layer by layer"
    assert all(one < other for one, other in zip(never, zeros, strict=True)), f"{never} never fire, {zeros} are 0"
    assert exact_zeros(gelu, ids) == ((0.0, 0.0), (0.0, 0.0)), f"{exact_zeros(gelu, ids)} of GELU's neurons are 0"
    assert copied_share(relu, seed=0) < 0.05, f"{copied_share(relu, seed=0):.0%} copied before the first step"


def test_a_spec_that_gpt_neox_lacks_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    from models.decoder import Decoder
    from tests.tiny import TINY_SPECS

    with pytest.raises(SpecError, match="GPT-NeoX"):
        save_folder(Decoder(TINY_SPECS["layers-that-differ"]), corpus.tokenizer, tmp_path)


@pytest.mark.parametrize("name", RECIPES)
def test_the_zoo_holds_every_recipe(name: str) -> None:
    """Each recipe's checkpoint is in the zoo, with the sizes of the recipe."""
    folder = zoo_folder(name)
    assert folder is not None, f"the zoo has {zoo_names()}, but no {name}"
    assert open_checkpoint(folder).spec == RECIPES[name].spec, f"{name} in the zoo has other sizes than its recipe"


def test_the_zoo_has_no_other_names() -> None:
    assert zoo_folder("fable") is None
    assert zoo_folder("../training") is None


def test_a_fresh_decoder_guesses(corpus: Corpus) -> None:
    """Before the first step every token costs what guessing costs: ln(vocab)."""
    loss = summed_loss(new_decoder(TINY), bfloat16=False)
    batch = batch_at(replace(TINY, repeat_share=0.0), corpus.train, 0)
    nats = loss(torch.from_numpy(batch.ids), torch.from_numpy(batch.targets)).item() / batch.targets.size
    assert abs(nats - np.log(TINY.vocab_size)) < 0.1, f"{nats:.2f} nats a token before the first step"
