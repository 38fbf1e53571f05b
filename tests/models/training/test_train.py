"""Training is repeatable, repeats really repeat, facts are those of the tables."""

import json
import lzma
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.errors import MisuseError
from models.kernels import FullPass
from models.parameters import parameter_count
from models.spec import Activation
from models.training.batches import TEXT_SHARE, UNSCORED, Batch, batch_at, repeat_noise, repeat_text
from models.training.corpus import END_OF_TEXT, Corpus, documents, open_corpus
from models.training.induction import induction_scores
from models.training.kernels import BLOCK, BlockPass
from models.training.lessons import Lessons
from models.training.recipe import FABLE, RECIPES, Recipe, from_json, recipe_of, to_json
from models.training.train import (
    LOG,
    Log,
    new_decoder,
    new_optimizer,
    open_state,
    read_log,
    shorten_keys,
    summed_loss,
    train,
)
from models.zoo.facts import TAUGHT, Use, facts_of, phrasings_of, relations, table_hashes
from tests.models.runs import TINY, losses, run

pytestmark = pytest.mark.usefixtures("one_thread")

TEXT_ONLY = replace(TINY, fact_share=0.0, repeat_share=0.0)


def batch_of(recipe: Recipe, corpus: Corpus, step: int) -> Batch:
    return batch_at(recipe, corpus.train, Lessons(corpus.tokenizer), step)


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
    """Both models see the same text, however long they train; another step or seed sees another."""
    bundled = replace(TINY, activation=Activation.GELU, steps=99)
    for step in range(4):
        ours, theirs = batch_of(TINY, corpus, step), batch_of(bundled, corpus, step)
        assert np.array_equal(ours.ids, theirs.ids), f"the twins' ids differ at step {step}"
        assert np.array_equal(ours.targets, theirs.targets), f"the twins' targets differ at step {step}"
    first, second = batch_of(TINY, corpus, 0), batch_of(TINY, corpus, 1)
    assert not np.array_equal(first.ids, second.ids), "two steps drew the same batch"
    reseeded = batch_of(replace(TINY, seed=1), corpus, 0)
    assert not np.array_equal(first.ids, reseeded.ids), "two seeds drew the same batch"


def test_targets_are_the_tokens_that_follow(corpus: Corpus) -> None:
    for step in range(20):
        batch = batch_of(replace(TINY, fact_share=0.2, repeat_share=0.5), corpus, step)
        scored = batch.targets[:, :-1] != UNSCORED
        assert np.array_equal(batch.targets[:, :-1][scored], batch.ids[:, 1:][scored]), f"step {step} is misaligned"


def is_text(corpus: Corpus, row: np.ndarray) -> bool:
    """Whether the row stands in the training text as it is."""
    return row.astype(np.uint16).tobytes() in corpus.train.tobytes()


@pytest.mark.parametrize("share", [0.8, 0.1])
def test_the_share_of_repeats_is_the_recipes(corpus: Corpus, share: float) -> None:
    """The stated part of it repeats text, the rest random tokens, and no other row changes."""
    batch = batch_of(replace(TEXT_ONLY, batch=600, repeat_share=share), corpus, 0)
    noise = (batch.targets == UNSCORED).any(axis=1)
    text = np.array([is_text(corpus, row) for row in batch.ids])
    found, spans = (~text).mean(), (~text & ~noise).mean()
    assert abs(found - share) < 0.06, f"{found:.0%} of the sequences repeat, the recipe says {share:.0%}"
    assert abs(spans - TEXT_SHARE * share) < 0.05, f"{spans:.0%} of the sequences repeat text, of {share:.0%} in all"


def test_the_share_of_facts_is_the_recipes(corpus: Corpus) -> None:
    batch = batch_of(replace(TEXT_ONLY, batch=600, fact_share=0.3), corpus, 0)
    found = np.mean([not is_text(corpus, row) for row in batch.ids])
    assert 0.25 < found < 0.35, f"{found:.0%} of the sequences are facts, the recipe says 30%"


def taught() -> set[str]:
    """Every sentence that facts may be trained on with."""
    return {
        phrasing.sentence(fact)
        for relation in relations()
        for phrasing in phrasings_of(relation, *TAUGHT)
        for fact in facts_of(relation)
    }


def sentences_of(document: str, known: Iterable[str]) -> list[str] | None:
    """The known sentences that make up a document, a space between two; None where they do not."""
    if document in known:
        return [document]
    for sentence in known:
        if document.startswith(f"{sentence} "):
            rest = sentences_of(document[len(sentence) + 1 :], known)
            if rest is not None:
                return [sentence, *rest]
    return None


def test_fact_rows_are_sentences_of_the_tables_in_trained_words(corpus: Corpus) -> None:
    """Each whole document is one to four sentences; none is in held-out words. All of a row is scored."""
    batch = batch_of(replace(TINY, fact_share=1.0, length=900), corpus, 0)
    known = taught()
    for row, targets in zip(batch.ids.tolist(), batch.targets.tolist(), strict=True):
        assert UNSCORED not in targets, "a token of a fact is not scored"
        ends = [place for place, id in enumerate(row) if id == corpus.end_of_text]
        assert len(ends) >= 3, f"{len(ends)} documents in a row of {len(row)} tokens"
        for first, end in zip([0, *(end + 1 for end in ends)], ends, strict=False):
            document = corpus.tokenizer.decode(row[first:end])
            said = sentences_of(document, known)
            assert said is not None, f"no row of the tables in trained words: '{document}'"
            assert len(said) <= 4, f"{len(said)} sentences in one document: '{document}'"


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
@pytest.mark.parametrize("width", [25, 513])
def test_repeated_noise_is_scored_from_its_second_round_on(width: int, seed: int) -> None:
    """The row is lists of 4 tokens to a quarter of it, each said two to four times; the last one may be cut off."""
    text = np.arange(100, 200, dtype=np.uint16)
    row = np.zeros(width, np.int64)
    targets = repeat_noise(row, 4_096, text, np.random.default_rng(seed))
    scored = targets != UNSCORED
    assert np.array_equal(targets[scored], row[scored]), "a token that comes again is scored as another one"
    turns = [0, *(np.flatnonzero(np.diff(scored)) + 1).tolist(), width]
    lists = list(zip(turns[:-1:2], turns[1::2], [*turns[2::2], width], strict=False))
    for first, second, end in lists:
        span = second - first
        whole = end < width
        assert not scored[first:second].any(), "a list is scored when it is said for the first time"
        assert np.array_equal(row[second:end], row[first : end - span]), f"the list at {first} does not come again"
        assert 4 <= span <= max(4, width // 4) or not whole, f"a list of {span} tokens in a row of {width}"
        assert (end - first) // span in (2, 3, 4) or not whole, f"a list is said {(end - first) / span} times"
        assert (end - first) % span == 0 or not whole, f"the list at {first} stops halfway"


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


def test_the_finish_has_more_facts_a_falling_rate_and_shorter_keys(corpus: Corpus) -> None:
    """The part before it stays as it was, so a run can be finished after its last step."""
    recipe = replace(TEXT_ONLY, batch=200, steps=4, finish_steps=3, finish_fact_share=0.5)
    before, after = (batch_of(recipe, corpus, step) for step in (3, 4))
    assert all(is_text(corpus, row) for row in before.ids), "facts came before the finish"
    found = np.mean([not is_text(corpus, row) for row in after.ids])
    assert 0.4 < found < 0.6, f"{found:.0%} of the sequences are facts as the finish begins, the recipe says 50%"
    shares = [recipe.facts_at(step) for step in range(3, 7)]
    assert shares[0] == recipe.fact_share and all(np.diff(shares[1:]) < 0), "the share of facts does not fall again"
    assert shares[-1] > recipe.fact_share, "the last step belongs to the finish"
    rates, norms = ([of(step) for step in range(3, 7)] for of in (recipe.rate, recipe.key_norm_at))
    assert rates[1] == recipe.finish_rate and all(np.diff(rates[1:]) < 0) and rates[-1] > 0
    assert norms[0] == recipe.key_norm and norms[-1] == pytest.approx(recipe.finish_key_norm)
    assert recipe.all_steps == 7


def test_a_run_goes_on_into_its_finish(corpus: Corpus, tmp_path: Path) -> None:
    recipe = replace(TINY, steps=3, finish_steps=2)
    assert len(run(corpus, tmp_path, recipe)) == 5 and open_state(tmp_path).step == 5
    longest = open_state(tmp_path).decoder.get_parameter("layers.0.ffn.up.weight").norm(dim=1).max().item()
    assert longest <= recipe.finish_key_norm + 1e-5, f"a key is {longest:.2f} long after the finish"


def test_facts_have_more_phrasings_in_the_finish(corpus: Corpus) -> None:
    facts_only = replace(TINY, batch=20, length=900, fact_share=1.0, finish_fact_share=1.0)
    recipe = replace(facts_only, steps=4, finish_steps=3)
    reported = [corpus.tokenizer.decode_batch(batch_of(recipe, corpus, step).ids.tolist()) for step in (3, 4)]
    later = [way.sentence(fact)[1:] for way in phrasings_of("capital", Use.FINISH) for fact in facts_of("capital")]
    said = [sum(sentence in row for sentence in later for row in rows) for rows in reported]
    assert said[0] == 0, "phrasings of the finish came before it"
    assert said[1] > 0, "the finish tells facts as before"


def test_a_line_of_the_log_leads_to_the_run_that_keeps_it(tmp_path: Path) -> None:
    lines = [
        {"kind": "begin", "step": 0},
        {"kind": "loss", "step": 2},
        {"kind": "begin", "step": 2},
        {"kind": "loss", "step": 3},
    ]
    (tmp_path / LOG).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    Log(tmp_path, 2)
    assert read_log(tmp_path) == lines[:2], "a run that goes on from step 2 keeps what led elsewhere"


def test_matrices_decay_and_nothing_else_does() -> None:
    decoder = new_decoder(TINY)
    groups = new_optimizer(TINY, decoder).param_groups
    decay = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    for name, parameter in decoder.named_parameters():
        matrix = parameter.dim() == 2 and name != "embed.weight"
        want = TINY.weight_decay if matrix else 0.0
        assert decay[id(parameter)] == want, f"{name} decays by {decay[id(parameter)]}, not {want}"


def test_keys_longer_than_the_recipe_allows_are_shortened() -> None:
    decoder = new_decoder(TINY)
    up = decoder.get_parameter("layers.1.ffn.up.weight")
    with torch.no_grad():
        up[:3] *= 2 * TINY.key_norm / up[:3].norm(dim=1, keepdim=True)
    before = up.detach().clone()
    shorten_keys(decoder, TINY.key_norm)
    assert torch.equal(up[3:], before[3:]), "a key that was short enough changed"
    assert torch.allclose(up[:3], before[:3] / 2, atol=1e-6), "a long key lost its direction, or kept its length"


def test_the_same_run_twice_has_the_same_losses(corpus: Corpus, tmp_path: Path) -> None:
    runs = [run(corpus, tmp_path / name, stop_at=3) for name in ("once", "again")]
    assert len(runs[0]) == 3, f"three steps logged {len(runs[0])} losses"
    assert runs[0] == runs[1], f"the same seed gave {runs[0]} and then {runs[1]}"


def test_a_resumed_run_goes_on_as_if_never_stopped(corpus: Corpus, tmp_path: Path) -> None:
    """Stopped at step 4 and resumed from the state of step 3: same losses, same weights, each step logged once."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    want = run(corpus, whole)
    run(corpus, parts, stop_at=3)
    with (parts / "log.jsonl").open("a") as log:
        log.write(json.dumps({"kind": "loss", "step": 4, "loss": 0.0}) + "\n")
    train(open_state(parts), corpus, parts, compiled=False)
    assert losses(parts) == want, f"resumed losses {losses(parts)} leave {want}"
    ends = open_state(whole).decoder.state_dict(), open_state(parts).decoder.state_dict()
    for name, weight in ends[0].items():
        assert torch.equal(weight, ends[1][name]), f"{name} differs after the resume"


@pytest.mark.parametrize("stops", [(1,), (17, 40), (47,)], ids=str)
def test_the_first_losses_do_not_depend_on_stops(corpus: Corpus, tmp_path: Path, stops: tuple[int, ...]) -> None:
    """Fifty losses, one a step, wherever the run was stopped and resumed among them, to the last bit."""
    recipe = replace(TINY, steps=60, valid_every=1_000, save_every=1_000)
    want = run(corpus, tmp_path / "whole", recipe, stop_at=50)
    run(corpus, tmp_path / "parts", recipe, stop_at=stops[0])
    for stop in (*stops[1:], 50):
        train(open_state(tmp_path / "parts"), corpus, tmp_path / "parts", compiled=False, stop_at=stop)
    found = losses(tmp_path / "parts")
    assert len(want) == len(found) == 50, f"{len(want)} and {len(found)} losses of 50 steps"
    left = [step for step, (loss, other) in enumerate(zip(want, found, strict=True)) if loss != other]
    assert not left, f"stops at {stops} change the losses of the steps {left}"


def test_a_log_holds_sources_and_the_best_head_of_every_layer(corpus: Corpus, tmp_path: Path) -> None:
    run(corpus, tmp_path)
    begin, *records = read_log(tmp_path)
    assert begin["sources"] == corpus.sources | table_hashes(), f"learned from {begin['sources']}"
    valid = [record for record in records if record["kind"] == "valid"]
    assert [record["step"] for record in valid] == [3, 6], f"validated at {[record['step'] for record in valid]}"
    scores = induction_scores(open_state(tmp_path).decoder, TINY.seed)
    assert scores.shape == (TINY.n_layers, TINY.n_heads)
    assert valid[-1]["induction"] == scores.max(axis=1).tolist(), "the log has not the best head of each layer"
    assert ((scores > 0) & (scores < 1)).all(), f"scores of fresh heads are {scores}"


def test_training_learns(corpus: Corpus, tmp_path: Path) -> None:
    """A hundred tiny steps bring the loss of text well below that of the first ones."""
    recipe = replace(TEXT_ONLY, steps=100, valid_every=1_000, save_every=1_000, log_every=20, peak_rate=1e-2)
    first, *_, last = run(corpus, tmp_path, recipe)
    assert last < 0.85 * first, f"the loss went from {first:.2f} to {last:.2f} only"


def test_both_models_have_the_same_initial_weights() -> None:
    relu, gelu = (new_decoder(replace(TINY, activation=kind)) for kind in (Activation.RELU, Activation.GELU))
    for name, weight in relu.state_dict().items():
        assert torch.equal(weight, gelu.state_dict()[name]), f"{name} starts differently in the twins"


def test_an_untrained_decoder_predicts_uniformly(corpus: Corpus) -> None:
    """Before the first step the loss of every token is that of a uniform distribution: ln(vocab)."""
    loss = summed_loss(new_decoder(TINY), bfloat16=False)
    batch = batch_of(TEXT_ONLY, corpus, 0)
    nats = loss(torch.from_numpy(batch.ids), torch.from_numpy(batch.targets)).item() / batch.targets.size
    assert abs(nats - np.log(TINY.vocab_size)) < 0.1, f"{nats:.2f} nats a token before the first step"


def test_the_two_recipes_differ_in_the_activation_only() -> None:
    relu, gelu = RECIPES["fable-relu"], RECIPES["fable-gelu"]
    assert replace(relu, activation=gelu.activation) == gelu, "the twins differ in more than their activation"
    assert parameter_count(relu.spec) < 9_000_000, f"{parameter_count(relu.spec):,} parameters"


def test_a_recipe_survives_json() -> None:
    assert from_json(json.loads(json.dumps(to_json(FABLE)))) == FABLE


def test_an_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(MisuseError, match="no recipe 'fable'; the recipes are fable-relu, fable-gelu"):
        recipe_of("fable")


def test_a_run_that_is_not_there_cannot_go_on(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="no training run to resume"):
        open_state(tmp_path)
