"""Every site against what the authors of a published model wrote down while it ran: minGPT, which sorts letters."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import edge
from edge.trace import Trace
from tests.shared import shared

FOLDER = "gpt_nano_sort"

SITES = {
    "layers.0.input": "x",
    "layers.0.attn.query": "q",
    "layers.0.attn.key": "k",
    "layers.0.attn.value": "v",
    "layers.0.attn.heads": "y",
    "layers.0.attn.output": "yProj",
    "layers.0.ffn.neurons": "gelu",
    "layers.0.ffn.output": "mlp",
    "layers.0.output": "block0",
    "layers.1.output": "block1",
    "layers.2.output": "block2",
    "logits": "lm_head",
}
"""Sites, and the names that the authors' file has for them."""

CLOSE = 1e-5
"""Share of the largest value at a site: float32 products, added in another order."""


def array(value: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(value["data"]), np.float32).reshape(value["shape"])


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    """The authors' values, texts first; where they have heads before tokens, heads come after, as in traces."""
    record = json.loads((shared(FOLDER) / "gpt-nano-sort-t0-partials.json").read_text())
    values = {name: array(value) for name, value in record.items() if name != "config"}
    values["y"] = values["y"].reshape(*values["y"].shape[:2], record["config"]["n_head"], -1)
    return values | {name: values[name].swapaxes(1, 2) for name in ("q", "k", "v")}


@pytest.fixture(scope="module", params=["torch", "onnx", "mlx"])
def traces(request: pytest.FixtureRequest, golden: dict[str, np.ndarray]) -> Iterator[list[Trace]]:
    with edge.load(shared(FOLDER), engine=request.param) as model:
        texts = golden["idx"].astype(int).tolist()
        yield [model.run(ids=ids, max_new_tokens=0, watch=edge.Watch.all()) for ids in texts]


@pytest.mark.parametrize("site", SITES)
def test_a_site_has_the_values_of_the_authors_run(
    site: str, traces: list[Trace], golden: dict[str, np.ndarray]
) -> None:
    want = golden[SITES[site]]
    got = np.stack([trace.site(site) for trace in traces])
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= CLOSE * np.abs(want).max(), f"{traces[0].engine} differs at {site}"


def test_a_map_is_that_of_the_authors_run(traces: list[Trace], golden: dict[str, np.ndarray]) -> None:
    for trace, want in zip(traces, golden["attSm"], strict=True):
        for head, weights in enumerate(want):
            assert np.abs(trace.pattern(layer=0, head=head) - weights).max() <= CLOSE


def test_the_letters_come_out_sorted(traces: list[Trace], golden: dict[str, np.ndarray]) -> None:
    """The last six of eleven logits spell the six letters in their order."""
    for trace, text in zip(traces, golden["idx"].astype(int), strict=True):
        assert trace.site("logits")[5:].argmax(-1).tolist() == sorted(text[:6].tolist())
