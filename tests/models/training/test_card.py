"""What is saved is what was trained, and a card matches its log, its files and its evaluation."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

import edge
from models.checkpoint import open_checkpoint
from models.decoder import Decoder
from models.errors import SpecError
from models.kernels import FullPass
from models.spec import Activation
from models.tokenizer import open_tokenizer
from models.training import card, save
from models.training.abilities import abilities, limits, share
from models.training.card import write_card
from models.training.corpus import Corpus
from models.training.curve import draw_curve
from models.training.evaluate import PROMPTS, evaluate
from models.training.evaluation import Evaluation
from models.training.figures import open_documents
from models.training.recall import Recall
from models.training.recipe import FABLE, RECIPES, Recipe, to_json
from models.training.rounding import Rounded, rounding
from models.training.save import save_folder
from models.training.train import new_decoder, open_state, train
from models.zoo.facts import facts, table_hashes
from tests.models.runs import TINY, run
from tests.tiny import TINY_SPECS

pytestmark = pytest.mark.usefixtures("one_thread")

ROOMY = replace(TINY, length=256, valid_tokens=512)
"""With a context that holds every prompt and every probe."""

FIGURES = Evaluation(
    engine="onnx",
    tokens=1_000,
    text_bytes=4_000,
    nats=4_200.0,
    exact_zeros=(0.5, 0.75),
    always_zero=(0.0, 0.0002),
    chosen=((), ()),
    neuron_tokens=512,
    induction=((0.05, 0.1), (0.31, 0.9)),
    induction_by_pair=((0.02, 0.05), (0.16, 0.45)),
    copied=0.6,
    recall=(
        Recall("color", 2, 6, first=0.2, among_five=0.5, baseline_first=0.25, baseline_among_five=0.75),
        Recall("young", 4, 12, first=0.8, among_five=0.9, baseline_first=0.25, baseline_among_five=0.5),
    ),
    samples=(("Once", " there was *one*,\nand then another."), ("He said", " that he was here and that he was there.")),
)


@pytest.mark.parametrize(
    "recipe",
    [TINY, replace(TINY, activation=Activation.GELU), replace(TINY, n_experts=4, top_k=2, d_expert=24)],
    ids=["relu", "gelu", "experts"],
)
def test_transformers_reads_what_was_saved(corpus: Corpus, tmp_path: Path, recipe: Recipe) -> None:
    """A saved folder gives transformers, and Edge, the decoder that was saved, to float16 rounding."""
    transformers = pytest.importorskip("transformers")
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


def test_a_spec_that_gpt_neox_lacks_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="GPT-NeoX"):
        save_folder(Decoder(TINY_SPECS["layers-that-differ"]), corpus.tokenizer, tmp_path)


@dataclass(frozen=True)
class Saved:
    """A run that was stopped, resumed with more steps, saved, evaluated, and given a card."""

    folder: Path
    evaluation: Evaluation
    rounded: list[Rounded]
    log: list[dict]

    @property
    def card(self) -> str:
        return (self.folder / "README.md").read_text(encoding="utf8")


@pytest.fixture(scope="module")
def saved(corpus: Corpus, work: Path, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    out = tmp_path_factory.mktemp("run")
    run(corpus, out, ROOMY, stop_at=3)
    state = open_state(out)
    state.recipe = replace(state.recipe, steps=9)
    train(state, corpus, out, compiled=False, stop_at=8)
    assert save.main(["fable-relu", "--run", str(out), "--work", str(work), "--zoo", str(out / "zoo")]) == 0
    folder = out / "zoo" / "fable-relu"
    (folder / "graphs").mkdir()
    (folder / "graphs" / "manifest.json").write_text("{}")
    with edge.load(folder, engine="torch", threads=1) as model:
        evaluation = evaluate(model, open_documents(work / "valid.txt.xz"), most_facts=1)
    rounded = rounding(folder, work / "valid.txt.xz", ("torch:bf16", "mlx:int4"))
    write_card("fable-relu", folder, evaluation, rounded)
    log = [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
    return Saved(folder, evaluation, rounded, log)


def test_the_card_matches_the_log_and_the_evaluation(saved: Saved) -> None:
    evaluation, last = saved.evaluation, saved.log[-1]
    for figure in (
        f"| training tokens | {8 * ROOMY.step_tokens:,}, in 8 steps of {ROOMY.step_tokens} |",
        "| final step | 8 of 9 |",
        "| resumed | at step 3, then planned for 9 steps |",
        f"5% of the sequences are facts: {len(facts()):,} of 11 relations",
        "10% of the sequences repeat a span; in 25% of those it is text, in the others random tokens",
        f"| 8 | {8 * ROOMY.step_tokens:,} | {saved.log[-2]['loss']:.3f} | {last['bits_per_byte']:.3f} |",
        "![Loss, validation and induction heads over the run](training.svg)",
        f"{evaluation.tokens:,} tokens of the validation text ({evaluation.text_bytes:,} bytes)",
        f"| **{evaluation.bits_per_byte:.3f}** | {evaluation.perplexity_per_byte:.3f} |",
        *(digest for begin in saved.log if begin["kind"] == "begin" for digest in begin["sources"].values()),
        *(f"**{prompt}**" for prompt in PROMPTS),
        *(f"| {recall.relation} | {recall.facts} | {recall.prompts} |" for recall in evaluation.recall),
        *(f"| `{one.engine}` | {one.parity.mean_kl_nats:.1e} |" for one in saved.rounded),
        f"before the text, {ROOMY.copy_steps} updates on {ROOMY.copy_steps * 2_048:,} repeated random tokens",
    ):
        assert figure in saved.card, f"the card lacks '{figure}':\n{saved.card}"


def test_the_card_lists_every_file_but_itself(saved: Saved) -> None:
    files = [file for file in saved.folder.rglob("*") if file.is_file() and file.name != "README.md"]
    names = sorted(file.relative_to(saved.folder).as_posix() for file in files)
    assert {"graphs/manifest.json", "training.svg", "model.safetensors"} <= set(names)
    for name in names:
        content = (saved.folder / name).read_bytes()
        row = f"| {name} | {len(content):,} | `{hashlib.sha256(content).hexdigest()}` |"
        assert row in saved.card, f"the card lacks '{row}'"
    rows = saved.card.count("` |\n")
    assert rows == len(names), f"the card lists {rows} files, there are {names}"


def test_training_and_the_tool_find_the_same_heads(saved: Saved) -> None:
    """The last scores of the log are those of the saved folder, to float16 rounding."""
    logged, found = saved.log[-1]["induction"], np.max(saved.evaluation.induction, axis=1)
    assert np.allclose(logged, found, atol=2e-3), f"the log says {logged}, the tool {found}"


def test_fewer_bits_cost_more(saved: Saved) -> None:
    half, four = (one.parity for one in saved.rounded)
    assert 0 < half.mean_kl_nats < four.mean_kl_nats, f"bf16 costs {half.mean_kl_nats}, int4 {four.mean_kl_nats} nats"
    assert half.positions == four.positions and four.p99_kl_nats >= four.mean_kl_nats


def test_a_card_without_a_run_says_how_to_get_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert card.main(["fable-relu", "--zoo", str(tmp_path)]) == 2
    reported = capsys.readouterr().err
    assert f"no saved run at {tmp_path / 'fable-relu'}" in reported and "models.training.save fable-relu" in reported, (
        reported
    )


def sections(evaluation: Evaluation, activation: Activation = Activation.RELU) -> str:
    """The card of a checkpoint with these figures."""
    recipe = replace(FABLE, activation=activation)
    return "\n".join([*abilities(recipe, evaluation), *limits(recipe, evaluation)])


def test_a_card_calls_a_head_an_induction_head_from_its_score_on() -> None:
    said = sections(FIGURES)
    assert "Heads that score 0.4 or more (layer.head): 1.1 (0.90)." in said, said
    weak = sections(replace(FIGURES, induction=((0.05, 0.39), (0.2, 0.1))))
    assert "No head scores 0.4 or more; the best is 0.1 with 0.39." in weak, weak
    assert "no induction head formed" in weak, weak


def test_only_a_mixtures_card_has_its_experts() -> None:
    assert "### Experts" not in sections(FIGURES), "a dense FFN has no experts"
    recipe, routed = replace(FABLE, n_experts=3, top_k=1, d_expert=8), replace(FIGURES, chosen=((), (0.1, 0.7, 0.2)))
    said = "\n".join(abilities(recipe, routed))
    assert "| 1 | 1 | 70.0% | 0 | 10.0% |" in said and "chooses 1 of 3 experts; with an even load, each" in said, said


def test_a_card_says_how_bundled_models_differ() -> None:
    for name, others in {
        "fable-relu": ("`fable-gelu` differs only in the activation", "`fable-moe` has a mixture of experts in each"),
        "fable-moe": (
            "`fable-relu` and `fable-gelu` have one FFN in each",
            "8 experts,",
            "experts of 160 neurons with **relu** and a",
        ),
    }.items():
        said = "\n".join(card.opening(name, RECIPES[name]))
        assert all(other in said for other in others), said


def test_a_card_calls_a_relation_known_only_above_its_baseline() -> None:
    said = sections(FIGURES)
    assert "so not learned: `color`." in said, said
    assert "it predicts 60.0% of\n  the answers; always giving the most frequent answer would score 25.0%" in said, said
    good = replace(FIGURES, recall=tuple(replace(recall, first=0.9) for recall in FIGURES.recall))
    assert "not learned" not in sections(good), sections(good)


def test_only_a_gelu_card_explains_its_zeros_by_rounding() -> None:
    for activation in (Activation.RELU, Activation.GELU):
        reported = "below about -5.6" in sections(FIGURES, activation)
        assert reported == (activation is Activation.GELU), (
            f"the card of a {activation.value} twin is wrong about zeros"
        )


def test_samples_stand_on_the_card_as_they_are() -> None:
    said = sections(FIGURES)
    assert r"> **Once** there was \*one\*,<br>and then another." in said, said
    assert "1 of the 2 samples" not in said, "four words in a row come once in either sample"
    circling = replace(FIGURES, samples=(*FIGURES.samples[:1], ("He", " was here and there. He was here and there.")))
    assert "1 of the 2 samples" in sections(circling), sections(circling)


@pytest.mark.parametrize(
    ("part", "said"), [(0.0, "0.0%"), (1e-4, "<0.1%"), (0.25, "25.0%"), (0.9999, ">99.9%"), (1.0, "100.0%")]
)
def test_a_share_reads_as_none_or_all_only_where_it_is(part: float, said: str) -> None:
    assert share(part) == said


def whole_log() -> list[dict]:
    """A log as long as that of a real run."""
    random = np.random.default_rng(0)
    log: list[dict] = [{"kind": "begin", "step": 0, "recipe": to_json(FABLE), "sources": table_hashes()}]
    for step in range(FABLE.log_every, FABLE.steps + 1, FABLE.log_every):
        place = {"step": step, "tokens": step * FABLE.step_tokens}
        log.append(place | {"kind": "loss", "loss": 4 + random.normal()})
        if step % FABLE.valid_every == 0:
            scores = random.random(FABLE.n_layers).tolist()
            log.append(place | {"kind": "valid", "bits_per_byte": 2 + random.random(), "induction": scores})
    return log


def test_a_curve_is_small_and_the_same_each_time(tmp_path: Path) -> None:
    for name in ("once", "again"):
        draw_curve(whole_log(), tmp_path / name)
    once, again = ((tmp_path / name).read_bytes() for name in ("once", "again"))
    assert once == again, "the same log was drawn in two ways"
    assert len(once) < 100_000, f"the picture weighs {len(once):,} bytes"
    assert b"fill: #ffffff" in once, "nothing lies behind the lines; on a dark page they would be lost"


def test_a_curve_has_induction_below_only_where_the_log_has_it(tmp_path: Path) -> None:
    draw_curve(whole_log(), tmp_path / "both.svg")
    bare = [{key: value for key, value in line.items() if key != "induction"} for line in whole_log()]
    draw_curve(bare, tmp_path / "cost.svg")
    heights = [
        float(ElementTree.parse(tmp_path / name).getroot().attrib["height"].removesuffix("pt"))
        for name in ("both.svg", "cost.svg")
    ]
    assert heights[1] < 0.7 * heights[0], f"{heights[0]} and {heights[1]} points high, with and without induction"
