"""Traces, profiles and comparisons made up for pages, and pages read as a browser reads them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from typing import Any

from edge.compare.estimate import Estimate
from edge.compare.greedy_decoding import DivergentToken
from edge.compare.predictions import PredictionDifference
from edge.compare.result import ComparedVariant, Comparison, TextUsed, VariantResult
from edge.compare.sites import DivergentSite
from edge.compare.speed import Speed
from edge.profile.machine import Machine, Roofline
from edge.profile.memory import Memory
from edge.profile.record import DepthProfile, PassProfile, Profile, VariantProfile
from edge.profile.rounds import Round, Workload
from edge.timing import PassTimes, by_sublayer
from edge.trace import Trace
from edge.watch import Watch
from tests.tui.fake_model import FakeModel

HOSTILE = (
    "</script><script>document.title = 'taken'</script>",
    "<img src=x onerror=\"document.title = 'taken'\">",
    "\"' onmouseover='document.title = 1' x=\"",
    "--><!-- ]]> <![CDATA[",
    "{{record}} {{style}}",
    "&lt;b&gt; &amp; &#60;",
    "\x00\x1b[31m\r\n\x7f\u2028\ud800",
    "\u202eabc\u202c \u05d0\u05d1 \u0627\u0644\u0639\u0631\u0628\u064a\u0629",
    "</style><style>body { display: none }",
)
"""Text that would be markup, an attribute, a script or another direction if it could."""


def made_trace(prompt: Sequence[str] = ("Once", " upon"), made: int = 4, watch: Watch | None = None) -> Trace:
    """A trace of random queries, keys and neurons; `prompt` is one piece a token."""
    model = FakeModel()
    ids = [model.tokenizer.add(piece) for piece in prompt]
    return model.run(ids=ids, max_new_tokens=made, watch=watch or Watch.all())


def with_text(trace: Trace, words: Sequence[str]) -> Trace:
    """The same trace with every text in it replaced by one of `words`, one after another."""
    turn = [words[place % len(words)] for place in range(len(trace.pieces) + 4)]
    return replace(
        trace, pieces=tuple(turn[4:]), model=turn[0], engine=turn[1], versions={turn[2]: turn[3]}, text=turn[0]
    )


def made_profile(engines: Sequence[str] = ("onnx", "torch"), n_layers: int = 3, model: str = "fake") -> Profile:
    """A decode step and a prompt of 16 tokens at two depths; parts of different lengths, and a gap of a tenth."""
    return Profile(
        edge="0",
        when="2026-01-02T03:04:05+00:00",
        model=model,
        n_layers=n_layers,
        parameters=1_000,
        interleaved=True,
        warm_up="one round",
        machine=Machine(
            system="Linux",
            processor="a processor",
            cores=2,
            memory_bytes=8_000_000_000,
            python="3.11",
            energy="a made-up counter",
            busy=0.1,
        ),
        rooflines=(Roofline(2, 2.4e10, 6e10),),
        variants=tuple(_made_variant(engine, place, n_layers) for place, engine in enumerate(engines, 1)),
        sparsity=None,
    )


def _made_variant(engine: str, slowness: int, n_layers: int) -> VariantProfile:
    depths = []
    for depth in (0, 32):
        passes = tuple(PassProfile(times=_made_times(tokens, depth, slowness, n_layers), work={}) for tokens in (1, 16))
        intervals_ms = (1.0 * slowness, 2.0 * slowness, 3.0 * slowness)
        rounds = (Round(5.0 * slowness, intervals_ms, 0.6),) * 2
        depths.append(DepthProfile(workload=Workload(depth, 16, 3), rounds=rounds, passes=passes))
    return VariantProfile(
        engine=engine,
        threads=2,
        versions={engine: "1"},
        method="a made-up clock",
        memory=_memory(9_000_000),
        estimated_peak_bytes=9_000_000,
        first_tokens=(),
        depths=tuple(depths),
    )


def _memory(process_peak_bytes: int | None) -> Memory:
    return Memory(
        weights_bytes=1_000_000, kv_bytes=2_000, allocator_peak_bytes=None, process_peak_bytes=process_peak_bytes
    )


_PARTS = ("attn.norm", "attn.qkv", "attn.core", "attn.out", "ffn.norm", "ffn.up", "ffn.act", "ffn.down")


def _made_times(tokens: int, depth: int, slowness: int, n_layers: int) -> PassTimes:
    parts = {"embed": 1_000.0, "head": 30_000.0, "other": 500.0}
    for layer in range(n_layers):
        parts |= {f"layers.{layer}.{part}": 1_000.0 * (place + 1) + 7 * layer for place, part in enumerate(_PARTS)}
    took = {part: ns * slowness * tokens for part, ns in parts.items()}
    whole = sum(took.values()) / 0.9
    return PassTimes(
        tokens=tokens,
        depth=depth,
        whole_ns=(whole, whole * 0.99, whole * 1.01),
        sublayers_ns=(by_sublayer(took),) * 3,
        parts_ns=({part: 1.5 * ns for part, ns in took.items()},) * 3,
    )


def made_comparison(names: Sequence[str] = ("torch", "onnx", "onnx:int4"), model: str = "fake") -> Comparison:
    """The second variant is the same, the third exceeds the tolerance at `layers.1.ffn.neurons`."""
    reference, *others = names
    sites = [f"layers.{layer}.{part}" for layer in range(2) for part in ("input", "attn.output", "ffn.neurons")]
    return Comparison(
        reference=VariantResult(**_made_subject(reference, model)),
        variants=tuple(
            ComparedVariant(
                **_made_subject(name, model),
                predictions=PredictionDifference(
                    positions=100,
                    max_logit_difference=1e-6,
                    kl_mean_nats=1e-12,
                    kl_median_nats=2e-12,
                    kl_p99_nats=3e-12,
                    kl_max_nats=float("nan"),
                    top1_agreement=0.99,
                    flips=1,
                    near_tie_flips=1,
                    perplexity_difference=Estimate(0.5, 0.25),
                ),
                tolerance=5e-5,
                sites={site: 0.02 if place and site == "layers.1.ffn.neurons" else 2e-7 for site in sites},
                first_divergent_site=DivergentSite("layers.1.ffn.neurons", 1, 4, " king", 0.02) if place else None,
                first_divergent_token=DivergentToken(3, 1, " queen", 2, " king", 0.05) if place else None,
                heads=(None, (0.1, 0.2)),
            )
            for place, name in enumerate(others)
        ),
        text=TextUsed("built in", 100, 50, 8, 16),
        tolerance=None,
    )


def _made_subject(name: str, model: str) -> dict[str, Any]:
    return {
        "name": name,
        "model": model,
        "engine": name,
        "threads": 2,
        "versions": {name: "1"},
        "perplexity": Estimate(50.0, 5.0),
        "sparsity": {"exact_zero_share": (0.5,), "top_p_sparsity": (0.6,)},
        "speed": Speed(Workload(0, 16, 3), (Round(5.0, (1.0, 2.0, 3.0), None),)),
        "memory": _memory(None),
    }


@dataclass
class ReadPage(HTMLParser):
    """A page as a parser sees it: its elements with attributes, and the text of each kind of element."""

    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)
    strip: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "input"):
            self._open.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        opened = self._open.pop()
        assert opened[0] == tag, f"<{opened[0]}> is closed by </{tag}>"

    def handle_data(self, data: str) -> None:
        if self._open:
            tag, attributes = self._open[-1]
            self.texts.setdefault(tag, []).append(data)
            if attributes.get("role") == "option":
                self.strip.append(data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    @property
    def record(self) -> dict[str, Any]:
        """What the page's script reads."""
        record: dict[str, Any] = json.loads(self.texts["script"][0])
        return record


def read_page(page: str) -> ReadPage:
    reader = ReadPage()
    reader.feed(page)
    reader.close()
    return reader
