"""A prompt is fed in pieces that follow one another, each with few enough scores of attention; then tokens follow."""

from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from edge.generate import CHUNK, MAX_SCORES, chunks, passes
from edge.sampling import Sampling
from edge.session import load
from tests.tiny import TINY_SPECS, with_heads

SPEC = TINY_SPECS["llama-shared-heads-tied"]


@given(tokens=st.integers(0, 40_000), n_heads=st.sampled_from([1, 4, 9, 32, 128]))
def test_every_token_is_fed_once_and_scores_stay_within_their_bound(tokens: int, n_heads: int) -> None:
    fed = list(passes(with_heads(SPEC, n_heads, 1), tokens))
    assert [token for few in fed for token in few] == list(range(tokens))
    assert all(0 < len(few) <= CHUNK for few in fed)
    for few in fed:
        scores = n_heads * len(few) * few.stop
        assert scores <= MAX_SCORES or len(few) <= 16, f"{len(few)} tokens at depth {few.start} make {scores} scores"


def test_what_fits_is_fed_at_once() -> None:
    assert [(few.start, few.stop) for few in passes(with_heads(SPEC, 9, 1), 1_100)] == [
        (0, 512),
        (512, 1_024),
        (1_024, 1_100),
    ]


def test_chunks_hold_the_ids_of_their_pass() -> None:
    ids = tuple(range(7, 1_207))
    pieces = list(chunks(ids, SPEC))
    assert [len(piece) for piece in pieces] == [len(few) for few in passes(SPEC, len(ids))]
    assert tuple(id for piece in pieces for id in piece) == ids


def test_repeated_tokens_are_penalized_as_in_transformers(byte_llama: Path) -> None:
    """The prompt counts, and every generated token."""
    prompt, count = [84, 104, 101, 104], 24
    theirs = AutoModelForCausalLM.from_pretrained(byte_llama, dtype=torch.float32).eval()
    want = theirs.generate(
        torch.tensor([prompt]), max_new_tokens=count, do_sample=False, repetition_penalty=1.3, eos_token_id=-1
    )
    penalized = Sampling(temperature=0.0, repetition_penalty=1.3)
    with load(byte_llama, "torch", threads=1) as model:
        found = model.run(ids=prompt, max_new_tokens=count, sampling=penalized, stop_tokens=())
    assert list(found.tokens) == want[0].tolist()
