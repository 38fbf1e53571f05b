"""Profiles made by hand, for tests of what is computed from them."""

from dataclasses import replace

from edge.profile.machine import Machine, Roofline
from edge.profile.memory import Memory
from edge.profile.record import DepthProfile, FirstToken, PassProfile, Profile, VariantProfile
from edge.profile.rounds import Round, Workload
from edge.timing import PassTimes, TimesByScope
from models.sublayers.work import Work

LAYERS = 2
PARTS: TimesByScope = {
    "embed": 10.0,
    "layers.0.attn.qkv": 100.0,
    "layers.0.attn.core": 50.0,
    "layers.0.ffn.up": 200.0,
    "layers.0.ffn.down": 150.0,
    "layers.1.attn.qkv": 120.0,
    "layers.1.attn.core": 60.0,
    "layers.1.ffn.up": 180.0,
    "layers.1.ffn.down": 160.0,
    "head": 300.0,
    "other": 20.0,
}
SUBLAYERS: TimesByScope = {
    "embed": 8.0,
    "layers.0.attn": 120.0,
    "layers.0.ffn": 300.0,
    "layers.1.attn": 150.0,
    "layers.1.ffn": 310.0,
    "head": 280.0,
    "other": 12.0,
}
WORK = {part: Work(touched_bytes=1_000.0 + place, flops=2_000.0 + place) for place, part in enumerate(PARTS)} | {
    "layers.0.ffn.act": Work(10.0, 0.0)
}


def times(tokens: int = 1, whole_ns: float = 1_300.0, slow: float = 1.0) -> PassTimes:
    """Passes whose timers all give the same, `slow` times as long as the tables above."""
    return PassTimes(
        tokens=tokens,
        depth=0,
        whole_ns=(whole_ns,) * 4,
        sublayers_ns=({scope: took * slow for scope, took in SUBLAYERS.items()},) * 3,
        parts_ns=({part: took * slow for part, took in PARTS.items()},) * 3,
    )


def passes(tokens: int = 1, whole_ns: float = 1_300.0, slow: float = 1.0) -> PassProfile:
    return PassProfile(times=times(tokens, whole_ns, slow), work=WORK)


def variant(engine: str = "onnx", slow: float = 1.0, wobble: float = 0.0) -> VariantProfile:
    """A variant whose tokens take 1 to 2 ms, `slow` times as long; rounds differ by `wobble`."""
    rounds = tuple(
        Round(
            10.0 * slow * (1 + wobble * turn),
            tuple(slow * (1 + wobble * turn) * wait for wait in (1.0, 1.5, 2.0)),
            None,
        )
        for turn in range(5)
    )
    at = DepthProfile(workload=Workload(0, 8, 3), rounds=rounds, passes=(passes(1), passes(8, 9_000.0)))
    return VariantProfile(
        engine=engine,
        threads=2,
        versions={"onnxruntime": "1.0"},
        method="by hand",
        memory=Memory(weights_bytes=10, kv_bytes=20, allocator_peak_bytes=None, process_peak_bytes=100_000_000),
        estimated_peak_bytes=99_000_000,
        first_tokens=(FirstToken(prompt_tokens=4, tokenize_ms=0.5, ttft_ms=9.0),),
        depths=(at,),
    )


def profile(*variants: VariantProfile) -> Profile:
    return Profile(
        edge="0",
        when="2026-01-01T00:00:00+00:00",
        model="by hand",
        n_layers=LAYERS,
        parameters=1_000,
        interleaved=True,
        warm_up="none",
        machine=Machine(
            system="Linux", processor="a processor", cores=2, memory_bytes=10**9, python="3", energy="none", busy=0.1
        ),
        rooflines=(Roofline(2, 1e9, 1e10), Roofline(2, 2e9, 0.5e10)),
        variants=variants or (variant(),),
        sparsity=None,
    )


def with_joules(one: VariantProfile, joules: float) -> VariantProfile:
    """The same with a counter of energy."""
    depths = tuple(
        replace(at, rounds=tuple(replace(turn, decode_joules=joules) for turn in at.rounds)) for at in one.depths
    )
    return replace(one, depths=depths)
