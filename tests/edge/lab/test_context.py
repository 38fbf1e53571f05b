"""What experiments are made on: the passage, the facts that a model knows, and where their subjects stand."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import edge
from edge.edits import Ablate
from edge.lab.context import LabContext, max_passage_tokens
from edge.lab.prompts import AGREEMENT, REFERENCE, TWO_SENSES, questions, read_questions
from edge.session import Model
from models.errors import MisuseError
from models.sites import layer_site
from tests.tiny import TINY_SPECS, tiny_checkpoint


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with edge.load("fable-relu", "onnx", threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def lab(model: Model) -> LabContext:
    return LabContext(model, tokens=600)


def test_windows_are_the_passage_without_its_last_token(lab: LabContext) -> None:
    assert [id for window in lab.window_ids for id in window] == list(lab.passage[:-1])
    assert lab.site(2, "output").shape == (599, 256)


def test_rows_are_the_traces_one_after_another(lab: LabContext, model: Model) -> None:
    last = lab.run(lab.window_ids[-1])
    rows = lab.site(1, "ffn.output")
    assert np.array_equal(rows[-last.n_fed :], last.site(layer_site(1, "ffn.output")))


def test_costs_are_of_the_token_that_follows(lab: LabContext, model: Model) -> None:
    window = list(lab.window_ids[0])
    logits = model.logits(window).astype(np.float64)
    logprobs = (
        logits
        - np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1, keepdims=True))
        - logits.max(-1, keepdims=True)
    )
    wanted = -logprobs[np.arange(len(window)), list(lab.passage[1 : len(window) + 1])]
    assert np.allclose(lab.token_losses_nats(lab.windows)[: len(window)], wanted, atol=1e-4)


def test_a_ablated_model_reads_worse(lab: LabContext) -> None:
    ablated, whole = (lab.token_losses_nats(lab.windows, edits) for edits in ([Ablate("layers.0.ffn")], []))
    assert ablated.mean() > whole.mean()


def test_known_facts_are_answered_and_their_subjects_found(lab: LabContext, model: Model) -> None:
    known = lab.known_facts
    assert len(known) >= 12, f"the twin was taught capitals, and knows {len(known)}"
    for fact in known:
        spelled = "".join(lab.tokenizer.piece(fact.ids[place]) for place in fact.subject)
        assert fact.question.subject in spelled, f"'{spelled}' is not where {fact.question.subject} stands"
        logits = model.logits(list(fact.ids))[-1]
        assert int(logits.argmax()) == fact.answer
        assert lab.probability(fact) == pytest.approx(fact.probability, rel=1e-4)
        assert fact.question.answer.startswith(lab.tokenizer.piece(fact.answer).strip())


def test_repeats_say_the_same_tokens_again(lab: LabContext) -> None:
    sequences = list(lab.repeats(3, tokens=10, times=4))
    assert sequences == list(lab.repeats(3, tokens=10, times=4)), "the same sequences every time"
    for ids in sequences:
        assert ids[:10] == ids[10:20] == ids[20:30] == ids[30:] and len(set(ids)) == 10
    assert sequences[0] != sequences[1]


def test_the_passage_is_as_long_as_memory_allows() -> None:
    assert max_passage_tokens(TINY_SPECS["llama-shared-heads-tied"]) == 2_048


def test_a_model_without_a_tokenizer_is_refused() -> None:
    with (
        Model(tiny_checkpoint("llama-shared-heads-tied"), "torch", 1, lambda _: None) as model,
        pytest.raises(MisuseError, match=r"no tokenizer\.json"),
    ):
        LabContext(model)


def test_pairs_hold_the_words_that_they_are_about() -> None:
    for pair in TWO_SENSES:
        assert pair.word in pair.first.split() and pair.word in pair.second.split() and pair.related in pair.first
    for pair in (*AGREEMENT, *REFERENCE):
        assert pair.first.split()[-1] == pair.word and pair.related in pair.first.split()
        assert pair.first.index(pair.related) < pair.first.rindex(pair.word), f"{pair.related} comes after its word"


def test_questions_end_before_their_answer() -> None:
    asked = list(questions())
    assert asked[0].prompt == "The capital of Afghanistan is" and asked[0].answer == "Kabul"
    assert all(
        question.subject in question.prompt and question.answer not in question.prompt for question in asked[:20]
    )


def test_a_users_own_questions_are_asked(model: Model, tmp_path: Path) -> None:
    asked = [f"The capital of France is\tFrance\t{answer}\n" for answer in ("Paris", "Rome")]
    (tmp_path / "mine.tsv").write_text("\n".join(asked))
    lab = LabContext(model, tokens=50, questions=read_questions(tmp_path / "mine.tsv"))
    assert [known.question.answer for known in lab.known_facts] == ["Paris"], "the twin was taught that it is Paris"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("The capital of France is", "line 1: 'The capital of France is' is not"),
        ("It is warm\tIt\thot\nThe capital is\tFrance\tParis", "line 2"),
        ("\n", "has no questions"),
    ],
)
def test_what_is_no_question_is_refused_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.tsv").write_text(text)
    with pytest.raises(MisuseError, match=message):
        read_questions(tmp_path / "mine.tsv")


class Enough(Exception):
    """What a check raises."""


def test_what_a_check_raises_ends_an_experiment_between_passes_and_before_what_was_seen_is_read(model: Model) -> None:
    left = 0

    def check() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Enough

    lab = LabContext(model, tokens=600, check=check)
    for work in (
        lambda: lab.run(lab.passage[:3]),
        lambda: lab.logits(lab.passage[:3]),
        lambda: lab.token_losses_nats(lab.windows),
        lambda: lab.site(0, "output"),
    ):
        left = 0
        with pytest.raises(Enough):
            work()
    left = 3
    with pytest.raises(Enough):
        lab.site(0, "output")
    left = 1_000
    assert len(lab.site(0, "output")) == 599, "a reading that was ended spoiled the next"
    left = 0
    with pytest.raises(Enough):
        lab.site(1, "output")
