"""Figures of a model are what their definitions say, and the same on every engine."""

import json
import lzma
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tokenizers

from edge.measure.attention import prefix_matching, prefix_matching_by_pair
from edge.repeated_tokens import repeated_tokens
from edge.session import Model
from models.errors import MisuseError
from models.spec import Activation, MoE
from models.tokenizer import Tokenizer, open_tokenizer
from models.training.corpus import END_OF_TEXT, documents
from models.training.evaluate import PROMPTS, main
from models.training.evaluation import Evaluation, overall
from models.training.evaluation_table import table
from models.training.figures import copied_share, ffn_sparsity, induction, open_documents, text_nats, token_stream
from models.training.recall import Recall, baseline, ranks, recall
from models.zoo.facts import Fact, Use, facts_of, phrasings_of, relations
from tests.tiny import TINY_SPECS, FakeCheckpoint, tiny_weights, with_heads

ENGINES = ("onnx", "torch", "mlx")
NAME = "neox-full-rotary-relu"
SPEC = TINY_SPECS[NAME]
LINES = 20


def tiny_model(**changed: float) -> Model:
    """A tiny ReLU decoder on torch; every weight whose name ends as a given one (`_` for `.`) is set to its value."""
    weights = tiny_weights(SPEC, seed=0)
    for name, value in changed.items():
        for weight in (weights[key] for key in weights if key.endswith(name.replace("_", "."))):
            weight[...] = value
    return Model(FakeCheckpoint(SPEC, weights, name=NAME), "torch", 1, lambda _: None)


def some_ids(tokens: int) -> list[int]:
    return [int(id) for id in np.random.default_rng(0).integers(0, SPEC.vocab_size, tokens)]


def bytewise(folder: Path) -> Tokenizer:
    opened = open_tokenizer(folder)
    assert opened is not None
    return opened


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text of a few more lines than are read."""
    random = np.random.default_rng(0)
    words = ("the", "old", "captain", "saw", "a", "fox", "and", "two", "houses", "by", "the", "sea")
    lines = [" ".join(random.choice(words, 14)).capitalize() + "." for _ in range(LINES + 5)]
    lines[7] += END_OF_TEXT
    file = tmp_path_factory.mktemp("text") / "text.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf8")
    return file


# Text


@pytest.mark.parametrize("tokens", [2, SPEC.context, SPEC.context + 1, SPEC.context + 2, 2 * SPEC.context + 7])
def test_a_model_that_finds_all_tokens_alike_pays_log_vocab_for_each(tokens: int) -> None:
    with tiny_model(embed_weight=0.0) as model:
        nats = text_nats(model, some_ids(tokens))
    assert nats == pytest.approx((tokens - 1) * np.log(SPEC.vocab_size)), f"{tokens} tokens cost {nats} nats"


def test_a_window_begins_with_nothing_known_and_ends_with_the_next_ones_first_token() -> None:
    ids, width = some_ids(SPEC.context + 20), SPEC.context
    with tiny_model() as model:
        whole, parts = text_nats(model, ids), text_nats(model, ids[: width + 1]) + text_nats(model, ids[width:])
    assert whole == pytest.approx(parts), f"two windows cost {whole} nats together, {parts} one by one"


@pytest.mark.parametrize("begin", ["a", "é"])
def test_the_first_tokens_bytes_are_not_counted(byte_llama: Path, begin: str) -> None:
    """Each byte is a token here, so all but the first are scored, even where that one is part of a character."""
    stream = token_stream(bytewise(byte_llama), [f"{begin}bé", "cd"])
    whole = len(f"{begin}bécd".encode())
    assert stream.scored_bytes == whole - 1, f"{stream.scored_bytes} of {whole} bytes are counted"
    assert stream.ids.count(256) == 2 and stream.ids[-1] == 256, "a document lacks its end"
    assert len(stream.ids) == whole + 2


@pytest.mark.parametrize("texts", [[], [""], ["a"]])
def test_a_text_without_anything_to_predict_is_refused(byte_llama: Path, texts: list[str]) -> None:
    with pytest.raises(MisuseError, match="give a longer text"):
        token_stream(bytewise(byte_llama), texts)


def test_plain_text_is_read_like_the_text_of_the_training(text: Path, tmp_path: Path) -> None:
    quantized = tmp_path / "text.txt.xz"
    quantized.write_bytes(lzma.compress(text.read_bytes()))
    assert open_documents(text) == open_documents(quantized) == tuple(documents(quantized))
    first, rest = open_documents(text, LINES)
    assert first.count("\n") == 7 and rest.count("\n") == LINES - 9, "another number of lines was read"


# Neurons and heads


def test_neurons_that_are_dead_are_zero_and_neurons_that_always_fire_are_not() -> None:
    for bias, share in ((-1.0, 1.0), (1.0, 0.0)):
        with tiny_model(ffn_up_weight=0.0, ffn_up_bias=bias) as model:
            zeros = ffn_sparsity(model, some_ids(SPEC.context + 9))
        assert zeros.exact_zeros == zeros.always_zero == (share,) * SPEC.n_layers, f"{zeros} at a bias of {bias}"
        assert zeros.tokens == SPEC.context + 9, "tokens were left out"


def test_neurons_that_never_fire_are_fewer_than_zeros() -> None:
    with tiny_model() as model:
        zeros, longest = ffn_sparsity(model, some_ids(64)), ffn_sparsity(model, some_ids(9 * SPEC.context))
    for layer, (zero, never) in enumerate(zip(zeros.exact_zeros, zeros.always_zero, strict=True)):
        assert 0 <= never < zero < 1, f"layer {layer}: {never:.1%} never fire, {zero:.1%} are zero"
    assert longest.tokens == 8 * SPEC.context, f"8 windows have {longest.tokens} tokens"


def test_tokens_of_experts_are_those_whose_router_chooses_them() -> None:
    """The shares of all experts sum to the experts of a token, and neurons of the others are 0."""
    spec = TINY_SPECS["experts-in-groups-shared-and-a-dense-layer"]
    with Model(FakeCheckpoint(spec, tiny_weights(spec, seed=0)), "torch", 1, lambda _: None) as model:
        sparsity = ffn_sparsity(model, [id % spec.vocab_size for id in some_ids(spec.context + 9)])
    for layer, shares, zeros in zip(spec.layers, sparsity.chosen, sparsity.exact_zeros, strict=True):
        if not isinstance(kind := layer.ffn, MoE):
            assert shares == (), f"a dense FFN has {len(shares)} experts"
            continue
        assert len(shares) == kind.n_experts
        assert sum(shares) == pytest.approx(kind.top_k), f"{shares} of {kind.top_k} choices"
        idle = (kind.n_experts - kind.top_k) * kind.expert.d_ff / kind.d_ff
        assert zeros >= idle, f"{zeros:.3f} are 0, neurons of experts that are not chosen alone are {idle:.3f}"


def looking_back(ids: np.ndarray) -> np.ndarray:
    """The pattern of a perfect induction head: all of each row on what followed earlier copies, else on itself."""
    pattern = np.zeros((len(ids), len(ids)), np.float32)
    for token in range(len(ids)):
        copies = [place for place in range(token) if ids[place] == ids[token]]
        for place in copies:
            pattern[token, place + 1] = 1 / len(copies)
        if not copies:
            pattern[token, token] = 1
    return pattern


@pytest.mark.parametrize("times", [2, 4])
def test_a_perfect_induction_head_scores_1(times: int) -> None:
    ids = repeated_tokens(1_000, np.random.default_rng(0), tokens=7, times=times)
    pattern = looking_back(ids)
    assert prefix_matching(pattern, ids) == pytest.approx(1), "looking at nothing else is not a whole score"
    pairs = 7 * times * (times - 1) / 2
    assert prefix_matching_by_pair(pattern, ids) == pytest.approx(7 * (times - 1) / pairs)
    one_off = np.roll(pattern, -1, axis=1)
    assert prefix_matching(one_off, ids) == 0, "a head that looks at the copy itself is no induction head"


def test_a_head_that_looks_everywhere_alike_scores_what_the_formula_says() -> None:
    """Token i gives 1 / (i + 1) to each key: a row of the second and third list has one and two of them that count."""
    ids = repeated_tokens(1_000, np.random.default_rng(0), tokens=5, times=3)
    place = np.arange(15)
    pattern = np.tril(np.ones((15, 15), np.float32)) / (place[:, None] + 1)
    copies = place // 5
    looked = (copies / (place + 1)).sum()
    both = np.stack([looking_back(ids), pattern])
    assert prefix_matching(both, ids) == pytest.approx([1, looked / 10]), "heads disturb one another"
    assert prefix_matching_by_pair(pattern, ids) == pytest.approx(looked / copies.sum())
    end = (copies / (place + 1))[-4:].sum()
    assert prefix_matching(pattern[-4:], ids) == pytest.approx(end / 4), "the last rows alone are misplaced"


def test_nothing_is_scored_where_no_token_comes_twice() -> None:
    pattern, ids = np.eye(4, dtype=np.float32), np.arange(4)
    assert np.isnan(prefix_matching(pattern, ids)) and np.isnan(prefix_matching_by_pair(pattern, ids))


def test_the_induction_of_a_model_is_that_of_its_patterns() -> None:
    """Without queries all attention is uniform, and the score is known; here 16 tokens, four times over."""
    with tiny_model(attn_query_weight=0.0, attn_query_bias=0.0) as model:
        per_token, by_pair = induction(model)
    place = np.arange(64)
    looked = (place // 16 / (place + 1)).sum()
    assert per_token.shape == (SPEC.n_layers, SPEC.n_heads), f"the scores have the shape {per_token.shape}"
    assert per_token == pytest.approx(looked / 48), "the score is not the mean over tokens that came before"
    assert by_pair == pytest.approx(looked / (16 * (1 + 2 + 3)))


def says_what_followed(shift: int) -> Callable[[list[int]], np.ndarray]:
    """Logits of a model that, where a token repeats, expects what is `shift` places after its first copy."""

    def logits(ids: list[int]) -> np.ndarray:
        expected = np.zeros((len(ids), SPEC.vocab_size), np.float32)
        half = len(ids) // 2
        for token in range(half, len(ids)):
            expected[token, ids[token - half + shift]] = 1
        return expected

    return logits


def test_copying_is_saying_what_followed_the_first_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with tiny_model() as model:
        monkeypatch.setattr(model, "logits", says_what_followed(1))
        assert copied_share(model) == 1, "a model that copies is not seen to copy"
        monkeypatch.setattr(model, "logits", says_what_followed(0))
        assert copied_share(model) < 0.1, "a model that says each token again passes for one that copies"


# Recall


def test_the_answer_is_what_it_adds_to_the_prompt(byte_llama: Path) -> None:
    given, added = bytewise(byte_llama).encode_answer("It is", "Lima")
    assert bytes(given) == b"It is" and bytes(added) == b" Lima"


def test_a_token_across_the_border_belongs_to_the_answer() -> None:
    joining = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0, "b": 1, " ": 2, "b ": 3}, [("b", " ")]))
    tokenizer = Tokenizer(rust=joining, named={}, stop_tokens=())
    assert tokenizer.encode("ab") == [0, 1]
    assert tokenizer.encode_answer("ab", "a") == ([0], [3, 0])


def test_ranks_count_the_tokens_that_would_be_taken_before() -> None:
    logits = np.array([[3, 1, 2], [1, 1, 1], [0, 2, 2]], np.float32)
    assert ranks(logits, np.array([1, 0, 2])).tolist() == [2, 0, 1]
    assert ranks(logits, logits.argmax(axis=-1)).tolist() == [0, 0, 0], "what greedy decoding takes has a rank above 0"


@pytest.mark.parametrize(("mistaken_by", "first", "among_five"), [(0, 1, 1), (1, 0, 1), (4, 0, 1), (5, 0, 0)])
def test_the_whole_answer_counts(
    byte_llama: Path, monkeypatch: pytest.MonkeyPatch, mistaken_by: int, first: float, among_five: float
) -> None:
    """A model that knows all of an answer but its last letter, before which it would say some others."""
    tokenizer = bytewise(byte_llama)
    asked, phrasings = facts_of("capital")[:3], phrasings_of("capital", Use.HELD_OUT)
    known = [tokenizer.encode(f"{way.prompt(fact)} {fact.answer}") for fact in asked for way in phrasings]
    last = {tuple(ids[:-1]): ids[-1] for ids in known}

    def logits(ids: list[int]) -> np.ndarray:
        expected = np.zeros((len(ids), 257), np.float32)
        expected[np.arange(len(ids)), [*ids[1:], last[tuple(ids)]]] = 1
        expected[-1, :mistaken_by] = 2
        return expected

    with tiny_model() as model:
        monkeypatch.setattr(model, "logits", logits)
        found = recall(model, tokenizer, "capital", most_facts=3)
    assert (found.facts, found.prompts) == (3, 3 * len(phrasings)), "not every phrasing was asked"
    assert (found.first, found.among_five) == (first, among_five), f"{mistaken_by} letters come before the last one"


def test_the_baseline_is_what_frequencies_give_away() -> None:
    known = [Fact("color", str(subject), answer) for subject, answer in enumerate("rrrgbb")]
    assert baseline(known, known, 1) == 3 / 6
    assert baseline(known, known, 2) == 5 / 6
    assert baseline(known, known, 5) == 1, "whoever may say everything is right"
    assert baseline(known[3:4], known, 2) == 0, "the frequencies are those of the whole relation"
    even = [Fact("color", str(subject), str(subject)) for subject in range(20)]
    assert baseline(even[:1], even, 5) == pytest.approx(5 / 20), "among equals none is preferred"


def test_over_all_relations_each_prompt_counts_alike() -> None:
    rows = [Recall("a", 2, 6, 1.0, 1.0, 0.5, 0.5), Recall("b", 1, 2, 0.0, 0.5, 0.1, 0.3)]
    whole = overall(rows)
    assert (whole.relation, whole.facts, whole.prompts) == ("all", 3, 8)
    shares = whole.first, whole.among_five, whole.baseline_first, whole.baseline_among_five
    assert shares == pytest.approx((0.75, 0.875, 0.4, 0.45)), f"{shares} are not means over prompts"


# The command


def test_every_engine_finds_the_same(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for bound, enough in (("evaluate.SAMPLE_TOKENS", 4), ("figures._COPY_ROWS", 2), ("figures._SEQUENCES", 2)):
        monkeypatch.setattr(f"models.training.{bound}", enough)
    found = {}
    for engine in ENGINES:
        file, bounds = tmp_path / f"{engine}.json", ["--threads", "1", "--lines", str(LINES), "--facts", "2"]
        code = main(["fable-relu", "-e", engine, "--text", str(text), *bounds, "--json", str(file)])
        out, complaint = capsys.readouterr()
        assert code == 0, f"{engine}: {complaint}"
        found[engine] = json.loads(file.read_text(encoding="utf8"))
        assert f"fable-relu on {engine}" in out and f"{found[engine]['bits_per_byte']:.4f}" in out
    onnx = found["onnx"]
    assert [row["relation"] for row in onnx["recall"]] == list(relations()), "a relation was not asked"
    assert [prompt for prompt, _ in onnx["samples"]] == list(PROMPTS), "a sample was left out"
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".json"] == [], "half a file was left behind"
    for engine in ENGINES[1:]:
        other = found[engine]
        assert other["bits_per_byte"] == pytest.approx(onnx["bits_per_byte"], abs=1e-4), f"{engine} scores otherwise"
        assert other["recall"] == onnx["recall"], f"{engine} recalls other facts than onnx"
        for figure, close in (("exact_zeros", 1e-3), ("induction", 1e-4), ("induction_by_pair", 1e-4)):
            worst = np.abs(np.subtract(other[figure], onnx[figure])).max()
            assert worst < close, f"{engine} leaves onnx in {figure} by {worst:.2g}"


def test_a_table_can_be_read_at_100_columns() -> None:
    spec = with_heads(SPEC, 40, 40)
    scores = tuple(tuple(float(head == 33 and layer == 1) for head in range(40)) for layer in range(SPEC.n_layers))
    evaluation = Evaluation(
        engine="torch",
        tokens=1_234_567,
        text_bytes=5_000_000,
        nats=3e6,
        exact_zeros=(0.5,) * SPEC.n_layers,
        always_zero=(0.1,) * SPEC.n_layers,
        chosen=((0.75, 0.25), *((),) * (SPEC.n_layers - 1)),
        neuron_tokens=4_096,
        induction=scores,
        induction_by_pair=scores,
        copied=0.5,
        recall=tuple(Recall(relation, 200, 800, 0.5, 0.6, 0.1, 0.2) for relation in relations()),
        samples=tuple((prompt, " and so on" * 30) for prompt in PROMPTS),
    )
    relu = table("fable", spec, evaluation)
    widest = max(relu.splitlines(), key=len)
    assert len(widest) <= 100, f"{len(widest)} columns: {widest}"
    assert evaluation.best_head == (1, 33, 1.0) and "best: layer 1, head 33: 1.00" in relu
    assert "EXACT ZEROS of relu" in relu and "rounding" not in relu
    assert "0        0   75.0%           1   25.0%" in relu, (
        f"the busiest and the least used expert are missing:\n{relu}"
    )
    layers = tuple(replace(layer, ffn=replace(layer.ffn, activation=Activation.GELU)) for layer in spec.layers)
    gelu = table("fable", replace(spec, layers=layers), evaluation)
    assert "EXACT ZEROS of gelu" in gelu and "rounding" in gelu, "the zeros of GELU pass for real ones"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fable-relu", "--text", "absent.txt"], "no text at absent.txt; pass --text"),
        (["fable-relu", "--lines", "0"], "lines is 0; at least 1 line"),
        (["fable-relu", "-e", "pytorch"], "did you mean 'torch'?"),
        (["fable-relu", "--facts", "0"], "most_facts is 0; at least 1 fact"),
        (["fable-rely"], "no bundled model of that name"),
        (["fable-relu", "--json", "absent/figures.json"], "create it first"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_message(
    text: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([arguments[0], "--text", str(text), *arguments[1:]]) == 2
    out, complaint = capsys.readouterr()
    assert message in complaint and complaint.count("\n") == 1 and not out, f"it says '{complaint}'"
