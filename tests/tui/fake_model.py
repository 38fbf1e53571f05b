"""A model without weights: deterministic sites, and runs that wait where a test wants them to."""

from threading import Event

import numpy as np

from edge.change import Edit
from edge.engines.base import Step
from edge.sampling import Sampling
from edge.session import OnToken, Token
from edge.timing import RunTiming, SublayerTiming
from edge.trace import Trace
from edge.watch import Watch
from models.errors import EdgeError, MisuseError
from models.progress import Progress
from models.spec import (
    Activation,
    Attention,
    DecoderSpec,
    Full,
    LayerNorm,
    LayerSpec,
    NoPosition,
    Plain,
    Rotary,
    Sequential,
    Sliding,
)

WORDS = (" three", " daughters", ",", " and", " the", " youngest", "\\n", " 王", " was", " [bold]", " fair", ".")


def small_spec(n_layers: int = 3, n_heads: int = 4) -> DecoderSpec:
    layers = tuple(
        LayerSpec(
            mixer=Attention(
                n_heads=n_heads,
                n_kv_heads=n_heads // 2,
                head_dim=4,
                window=Sliding(5) if index == 1 else Full(),
                position=Rotary(1e4, 4),
                qkv_bias=True,
                out_bias=True,
            ),
            ffn=Plain(Activation.RELU, 32, True),
            norm=LayerNorm(1e-5),
            residual=Sequential(),
        )
        for index in range(n_layers)
    )
    return DecoderSpec(
        vocab_size=64,
        d_model=16,
        context=512,
        positions=NoPosition(),
        layers=layers,
        norm=LayerNorm(1e-5),
        tied=True,
    )


class FakeTokenizer:
    """One token per word; ids are places in the words seen so far."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def encode(self, text: str) -> list[int]:
        first, *rest = text.split(" ")
        return [self.add(first), *(self.add(" " + word) for word in rest)]

    def add(self, word: str) -> int:
        if word not in self.words:
            self.words.append(word)
        return self.words.index(word)

    def piece(self, id: int) -> str:
        return self.words[id]


class FakeModel:
    """Generates `WORDS`. With `pauses`, a run waits after its third token until it is stopped."""

    name = "fake"
    threads = 2
    checkpoint = None
    holds = 40
    """Tokens that a prompt may have."""

    def __init__(self, engine: str = "onnx", *, pauses: bool = False, spec: DecoderSpec | None = None) -> None:
        self.engine, self.pauses, self.spec = engine, pauses, spec or small_spec()
        self.tokenizer = FakeTokenizer()
        self.stopping, self.is_pausing, self.closed = Event(), Event(), Event()
        self.prompts: list[list[int]] = []
        self.samplings: list[Sampling] = []

    def run(
        self,
        prompt: str | None = None,
        *,
        ids: list[int] | None = None,
        max_new_tokens: int = 64,
        watch: Watch | None = None,
        sampling: Sampling | None = None,
        edits: tuple[Edit, ...] = (),
        on_token: OnToken | None = None,
    ) -> Trace:
        assert (ids is None) != (prompt is None) and watch is not None
        ids = self.tokenizer.encode(prompt) if ids is None else ids  # type: ignore[arg-type]
        self.samplings.append(sampling or Sampling.greedy())
        if len(ids) > self.holds:
            raise MisuseError(f"the prompt has {len(ids)} tokens, this model's context holds {self.holds}; shorten it")
        self.prompts.append(ids)
        self.stopping.clear()
        tokens = list(ids)
        for step, word in enumerate(WORDS[:max_new_tokens]):
            if self.pauses and step == 3 and len(self.prompts) == 1:
                self.is_pausing.set()
                assert self.stopping.wait(20), "the run was never stopped"
            if self.stopping.is_set():
                break
            tokens.append(self.tokenizer.add(word))
            if on_token is not None:
                on_token(Token(tokens[-1], word, word, -1.0, Step(np.zeros((1, 64), np.float32))))
        return self.trace(tokens, len(ids), watch, edits)

    def trace(self, tokens: list[int], prompt_length: int, watch: Watch, edits: tuple[Edit, ...] = ()) -> Trace:
        made = len(tokens) - prompt_length
        return Trace(
            spec=self.spec,
            model=self.name,
            engine=self.engine,
            versions={"fake": "1"},
            tokens=tuple(tokens),
            prompt_length=prompt_length,
            n_fed=len(tokens) - (1 if made else 0),
            pieces=tuple(self.tokenizer.piece(id) for id in tokens),
            text="",
            logprobs=(-1.0,) * made,
            finish="stopped" if self.stopping.is_set() else "length",
            watch=watch,
            timing=RunTiming(tokenize_ms=0.1, prefill_ms=10.0, ttft_ms=12.3, inter_token_ms=(6.0,) * max(0, made - 1)),
            sites=self.sites(watch, len(tokens) - (1 if made else 0), len(edits)),
            edits=tuple(str(edit) for edit in edits),
        )

    def sites(self, watch: Watch, rows: int, edits: int = 0) -> dict[str, np.ndarray]:
        rng = np.random.default_rng([len(self.engine), edits])
        made: dict[str, np.ndarray] = {}
        for site in watch.sites(self.spec):
            value = rng.standard_normal((rows, *site.row_shape)).astype(np.float32) * 2
            made[site.name] = np.maximum(value - site.layer, 0) if site.name.endswith("neurons") else value
        return made

    def time_sublayers(self, ids: list[int], *, tokens: int = 1, repeats: int = 30) -> SublayerTiming | None:
        layers = range(self.spec.n_layers)
        measured = {f"layers.{layer}.attn": 2e5 + 1e4 * layer for layer in layers}
        measured |= {f"layers.{layer}.ffn": 4e5 + 2e4 * layer for layer in layers}
        measured |= {"embed": 1e4, "head": 3e5, "other": 4e4}
        return SublayerTiming(
            engine=self.engine,
            tokens=tokens,
            depth=len(ids) - tokens,
            repeats=repeats,
            threads=self.threads,
            method="a made-up clock",
            total_ns=sum(measured.values()) * 1.04,
            measured_ns=measured,
        )

    def stop(self) -> None:
        self.stopping.set()

    def close(self) -> None:
        self.stop()
        self.closed.set()


class FakeModels:
    """Opens fake models and remembers them; an engine called `broken` cannot be opened."""

    def __init__(self, *, pauses: bool = False, spec: DecoderSpec | None = None, holds: int = 40) -> None:
        self.pauses, self.spec, self.holds = pauses, spec, holds
        self.opened: list[FakeModel] = []
        self.tokenizer = FakeTokenizer()

    def open(self, model: str, engine: str, progress: Progress) -> FakeModel:
        progress("reading weights")
        if engine == "broken":
            raise EdgeError("engine 'broken' is not installed here: pip install 'edge-lens[broken]'")
        self.opened.append(FakeModel(engine, pauses=self.pauses, spec=self.spec))
        self.opened[-1].holds = self.holds
        self.opened[-1].tokenizer = self.tokenizer  # all engines of a model share a tokenizer
        return self.opened[-1]
