"""Edge's measures beside TransformerLens's, on the same random weights; needs the extra `lens`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GPT2Config, LlamaConfig, PretrainedConfig, PreTrainedTokenizerFast

import edge
from edge.measure.attribution import attribute, attribute_heads, attribute_neurons, read_difference
from edge.measure.heads import detection_share, duplicate_token_mask, induction_mask, previous_token_mask
from edge.readout import Readout, open_output_projection, open_readout
from edge.trace import Trace
from edge.watch import Watch
from models.checkpoint import Checkpoint
from tests.reference import write_reference

# Another project's warnings, from its code and its imports, are not about Edge.
pytestmark = pytest.mark.filterwarnings("ignore")

CLOSE = 1e-4
"""Largest difference, relative to the largest value where that exceeds 1: what TransformerLens calls suspicious."""

TEXT = "a cat sat, a cat ran, a cat"
QUESTIONS = ((99, 116), (32, 97), (99, None))
"""A target, and what its logit is compared with; None is the mean of all logits."""

CONFIGS: dict[str, Callable[[], PretrainedConfig]] = {
    "gpt2": lambda: GPT2Config(vocab_size=257, n_embd=32, n_head=4, n_layer=3, n_positions=64),
    "llama": lambda: LlamaConfig(
        vocab_size=257, hidden_size=32, intermediate_size=88, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, pad_token_id=None, bos_token_id=256, eos_token_id=256,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Both:
    """One text through the same weights twice."""

    trace: Trace
    checkpoint: Checkpoint
    readout: Readout
    bridge: Any
    cache: Any


@pytest.fixture(scope="module", params=CONFIGS)
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, byte_llama: Path) -> Both:
    reason = "needs TransformerLens: pip install -c constraints.txt -e '.[dev,lens]'"
    lens = pytest.importorskip("transformer_lens.model_bridge", reason=reason)
    folder = tmp_path_factory.mktemp("lens") / request.param
    write_reference(CONFIGS[request.param](), folder)
    ends = {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
    PreTrainedTokenizerFast(tokenizer_file=str(byte_llama / "tokenizer.json"), **ends).save_pretrained(folder)
    bridge = lens.TransformerBridge.boot_transformers(str(folder), device="cpu")
    # Without it, attributions are silently those of another head: norms must lie folded in what reads them.
    # Values keep their biases, which Edge counts to the head that reads them.
    bridge.enable_compatibility_mode(fold_value_biases=False)
    ids = bridge.to_tokens(TEXT)
    with torch.no_grad():
        _, cache = bridge.run_with_cache(ids)
    with edge.load(folder, engine="torch") as model:
        trace = model.run(ids=ids[0].tolist(), max_new_tokens=0, watch=Watch.all())
        return Both(trace, model.checkpoint, open_readout(model.checkpoint), bridge, cache)


def off_by(got: np.ndarray, want: torch.Tensor | np.ndarray) -> float:
    wanted = np.asarray(want)
    assert got.shape == wanted.shape, f"Edge has {got.shape}, TransformerLens {wanted.shape}"
    return float(np.abs(got - wanted).max() / max(1.0, float(np.abs(wanted).max())))


def test_every_head_has_the_same_pattern(both: Both) -> None:
    for layer in range(both.trace.spec.n_layers):
        patterns = both.cache["pattern", layer][0]
        for head in range(both.trace.spec.n_heads):
            worst = off_by(both.trace.pattern(layer, head), patterns[head])
            assert worst < CLOSE, f"layer {layer}, head {head} looks elsewhere than in TransformerLens: {worst:.2g}"


@pytest.mark.parametrize("kind", ["previous_token_head", "duplicate_token_head", "induction_head"])
def test_heads_are_detected_alike(both: Both, kind: str) -> None:
    from transformer_lens.head_detector import detect_head

    ids = np.asarray(both.trace.tokens)
    mask = {
        "previous_token_head": previous_token_mask(len(ids)),
        "duplicate_token_head": duplicate_token_mask(ids),
        "induction_head": induction_mask(ids),
    }[kind]
    spec = both.trace.spec
    patterns = np.stack([[both.trace.pattern(i, head) for head in range(spec.n_heads)] for i in range(spec.n_layers)])
    with torch.no_grad():
        want = detect_head(both.bridge, TEXT, kind)
    worst = off_by(detection_share(patterns, mask), want)
    assert worst < CLOSE, f"{kind}s score otherwise than in TransformerLens: {worst:.2g}"


def test_the_logit_lens_reads_the_same(both: Both) -> None:
    with torch.no_grad():
        streams = both.cache.accumulated_resid(apply_ln=True)[:, 0]
        want = (streams @ both.bridge.W_U + both.bridge.b_U).numpy()
    sites = ["layers.0.input", *(f"layers.{layer}.output" for layer in range(both.trace.spec.n_layers))]
    for index, site in enumerate(sites):
        # TransformerLens takes the mean logit away, which no probability sees.
        got = both.readout.logits(both.trace.site(site))
        worst = off_by(got - got.mean(-1, keepdims=True), want[index] - want[index].mean(-1, keepdims=True))
        assert worst < CLOSE, f"the lens reads {site} otherwise than TransformerLens: {worst:.2g}"


def of_transformer_lens(both: Both, components: torch.Tensor, target: int, baseline: int | None) -> np.ndarray:
    """(component, token) attributions; TransformerLens compares with the mean logit if with none."""
    with torch.no_grad():
        return both.cache.logit_attrs(components, tokens=target, incorrect_tokens=baseline)[:, 0].numpy()


@pytest.mark.parametrize(("target", "baseline"), QUESTIONS)
def test_sublayers_are_attributed_alike(both: Both, target: int, baseline: int | None) -> None:
    components, labels = both.cache.decompose_resid(return_labels=True)
    want = dict(zip(labels, of_transformer_lens(both, components, target, baseline), strict=True))
    want["embed"] = want["embed"] + want.pop("pos_embed", 0)
    for token in (0, 5, both.trace.n_fed - 1):
        found = attribute(both.trace, both.readout, target, baseline, token)
        assert len(found.names) == len(want) + 1, f"Edge has {found.names}, TransformerLens {list(want)} and no bias"
        worst = off_by(found.logits[:-1], np.array([of_label[token] for of_label in want.values()]))
        assert worst < CLOSE, f"sublayers add otherwise to token {token} than in TransformerLens: {worst:.2g}"


@pytest.mark.parametrize(("target", "baseline"), QUESTIONS)
def test_heads_and_neurons_are_attributed_alike(both: Both, target: int, baseline: int | None) -> None:
    spec, token = both.trace.spec, both.trace.n_fed - 1
    reading = read_difference(both.trace, both.readout, target, baseline, token)
    with torch.no_grad():
        heads, neurons = both.cache.stack_head_results(), both.cache.stack_neuron_results(layer=-1)
    of_heads = of_transformer_lens(both, heads, target, baseline)[:, token].reshape(spec.n_layers, -1)
    of_neurons = of_transformer_lens(both, neurons, target, baseline)[:, token].reshape(spec.n_layers, -1)
    for layer in range(spec.n_layers):
        got = attribute_heads(both.trace, reading, open_output_projection(both.checkpoint, layer, "attn"), layer, token)
        worst = off_by(got.logits[:-1], of_heads[layer])
        assert worst < CLOSE, f"heads of layer {layer} add otherwise than in TransformerLens: {worst:.2g}"
        got = attribute_neurons(
            both.trace, reading, open_output_projection(both.checkpoint, layer, "ffn"), layer, token
        )
        worst = off_by(got.logits[:-1], of_neurons[layer])
        assert worst < CLOSE, f"neurons of layer {layer} add otherwise than in TransformerLens: {worst:.2g}"
