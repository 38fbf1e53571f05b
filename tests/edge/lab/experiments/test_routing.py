"""A6 finds what attention copies from other tokens, and nothing where it copies nothing."""

import numpy as np
import pytest

from edge.lab.experiments.patterns import layer_patterns
from edge.lab.experiments.routing import attention_output, correlations, measure, rollout_summary
from tests.edge.lab.contexts import tiny_lab
from tests.tiny import TINY_SPECS, tiny_weights

NAME = "llama-shared-heads-tied"


def l1(x: np.ndarray) -> float:
    return float(np.abs(x).sum())


@pytest.mark.parametrize("name", TINY_SPECS)
def test_shares_are_those_of_the_parts_of_the_real_stream(name: str) -> None:
    """Part by part, from the engine's own attn.output and with the norm after attention, if any, frozen."""
    with tiny_lab(name, tokens=30) as lab:
        trace, layer, token = lab.traces[0], 1, 17
        looks, own = layer_patterns(trace, layer), attention_output(lab, trace, layer)
        got = own.shares(looks, np.array([token]))[0]
        before, after = trace.site(f"layers.{layer}.input")[token], own.projection.after
        whole = before + trace.site(f"layers.{layer}.attn.output")[token]
        joined = trace.site(f"layers.{layer}.attn.heads")[token].reshape(1, -1)
        scale = float(after.scale(own.projection(joined))[0])
        parts, sharing = {}, lab.spec.layers[layer].attention.sharing
        for head in range(lab.spec.n_heads):
            for key in range(token + 1):
                if looks[head, token, key]:
                    written = looks[head, token, key] * own.value[key, head // sharing] @ own.out[head]
                    part = after.centered(written[None])[0] * after.gain / scale
                    parts[head, key] = max(l1(whole) - l1(whole - part), 1e-5)
        total = sum(parts.values()) + max(l1(whole) - l1(whole - before), 1e-5)
        want = [sum(part for (_, key), part in parts.items() if (key == token) is own_key) for own_key in (False, True)]
    np.testing.assert_allclose(got, np.array(want) / total, rtol=2e-3, atol=1e-4)


def test_attention_that_writes_nothing_routes_nothing() -> None:
    inactive = {key: 0 * value for key, value in tiny_weights(TINY_SPECS[NAME], 0).items() if ".attn.value." in key}
    with tiny_lab(NAME, inactive) as lab:
        trace = lab.traces[0]
        shares = attention_output(lab, trace, 0).shares(layer_patterns(trace, 0), np.array([20, 30]))
    assert shares.max() < 0.01, "silent values were found in the residual stream"


def test_values_of_one_length_leave_the_weights_as_they_are() -> None:
    with tiny_lab(NAME, tokens=30) as lab:
        trace = lab.traces[0]
        own, looks = attention_output(lab, trace, 0), layer_patterns(trace, 0)
        sharing = lab.spec.layers[0].attention.sharing
        for head in range(lab.spec.n_heads):
            lengths = np.linalg.norm(own.value[:, head // sharing] @ own.out[head], axis=-1)
            seen = np.tril(np.ones(looks.shape[1:], np.bool_))
            moved = (looks[head] * lengths)[seen]
            want = np.corrcoef(looks[head][seen], moved)[0, 1]
            assert correlations(looks, own)[head, 0] == pytest.approx(want, rel=1e-4)


def test_rollout_of_looks_at_the_first_token_and_of_looks_at_oneself() -> None:
    first = np.zeros((2, 5, 5), np.float32)
    first[..., 0] = 1
    assert rollout_summary([first]) == pytest.approx((0.5, 1.0)), "half stays in the residual stream, half is carried"
    assert rollout_summary([first, first])[0] == pytest.approx(0.75)
    itself = np.stack([np.eye(5, dtype=np.float32)] * 2)
    assert rollout_summary([itself, itself]) == (0.0, 0.0), "attention to oneself carried something"


def test_the_share_and_its_baseline_agree_where_heads_look_evenly() -> None:
    inactive = {key: 0 * value for key, value in tiny_weights(TINY_SPECS[NAME], 0).items() if ".attn.query." in key}
    with tiny_lab(NAME, inactive) as lab:
        found = {number.key: number for number in measure(lab).numbers}
    for key in ("routed_share", "rollout_first_token_share", "rollout_entropy_bits"):
        assert found[key].value == pytest.approx(found[key].baseline, rel=1e-3), (
            f"{key} of even heads is off its baseline"
        )
