"""Compares engines site by site: the job, the sets of engines, and the estimated cost."""

from collections.abc import Sequence
from dataclasses import dataclass

from edge.compare.measure import NEW_TOKENS, compare
from edge.compare.speed import default_workload
from edge.compare.tokenized_text import FEWEST_TOKENS, LONGEST_WINDOW, TokenizedText, tokenize_text
from edge.compare.variants import ChosenVariant, chosen_variants, opened
from edge.engines.choice import engine_of
from edge.picture.pieces import show_piece
from edge.picture.units import show_bytes
from edge.trace import Trace
from edge.worker_process import cancelable
from models.errors import MisuseError
from models.precision import Float, Grouped, Mixed
from tui.jobs.estimate import EngineSet, opening_s, show_duration, token_s
from tui.jobs.job import JobContext
from tui.messages import EnginesCompared
from tui.view_state import ModelSummary

COMPARING = "comparing engines"
"""Prefix of its progress messages."""

ROUNDS = 1
"""Timing rounds: this job compares numbers; `edge compare` and the time view take more rounds."""

_SCALE_BYTES, _MIXED_BYTES = 0.1, 0.7
"""Bytes per parameter: of the scales of quantized matrices; and of matrices in several schemes, in most files."""

_NAMED = 24
"""Characters of a text in its name."""


def engine_sets(current: str, installed: Sequence[str], stored: str = "") -> tuple[EngineSet, ...]:
    """Sets of engines to compare with torch, or with onnx without torch; each has at least two engines.

    Args:
        stored: The precision of stored quantized weights, the only one they run in; then ONNX Runtime is compared with
            activations in float32 too.
    """
    reference = "torch" if "torch" in installed else "onnx"
    if stored:
        own = (f"{name}:{stored}" for name in (reference, *installed))
        return (EngineSet("engines", _once(*own, f"onnx:{stored}-acc0", current)),)
    floats = (reference, *installed, current)
    quantizing = tuple(name for name in ("onnx", "mlx") if name in installed)
    int4, int8 = (tuple(f"{name}:int{bits}" for name in quantizing) for bits in (4, 8))
    found = (
        EngineSet("engines and int4", _once(*floats, *int4)),
        EngineSet("engines, int8 and int4", _once(*floats, *int8, *int4)),
        EngineSet("engines", _once(*floats)),
    )
    return tuple({one.engines: one for one in reversed(found) if one.others}.values())[::-1]


def _once(*engines: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(engines))


def passage_of(trace: Trace | None, chosen: ChosenVariant) -> TokenizedText:
    """The tokens of the current run, named by their beginning; the bundled text if there are too few."""
    if trace is None or len(trace.tokens) < FEWEST_TOKENS:
        if chosen.tokenizer is None:
            raise MisuseError("this model has no tokenizer to encode a text to compare on; run token ids first")
        return tokenize_text(chosen.tokenizer, None, LONGEST_WINDOW)
    text = show_piece("".join(trace.pieces))
    name = text if len(text) <= _NAMED else f"{text[:_NAMED]}…"
    return TokenizedText(name.strip(), trace.tokens[:LONGEST_WINDOW])


@dataclass(frozen=True)
class CompareEngines:
    """Compares engines on the tokens of a run, each engine in a separate process.

    Attributes:
        engines: The first is the reference.
        trace: The run; None compares on the bundled text.
    """

    model: str
    engines: tuple[str, ...]
    trace: Trace | None

    def work(self, context: JobContext) -> None:
        context.report(f"{COMPARING}: {', '.join(self.engines)}", can_stop=True)
        report = context.progress_as(COMPARING)
        chosen = chosen_variants([self.model], self.engines, None)
        passage = passage_of(self.trace, chosen[0])
        with cancelable(context.check), opened(chosen, report) as members:
            found = compare(members, passage, rounds=ROUNDS, tolerance=None, progress=report)
        context.check()
        context.post(EnginesCompared(found))


def estimated_s(model: ModelSummary, engines: Sequence[str], tokens: int, token_ns: float | None) -> float:
    """Estimated seconds.

    Args:
        tokens: Tokens of the text.
        token_ns: One decode step of the current engine; None where it was not timed.
    """
    workload = default_workload([model.spec])
    steps = (ROUNDS + 1) * (workload.tokens + workload.prompt / 8) + NEW_TOKENS + 3 * tokens / 8
    return opening_s(engines) + len(engines) * steps * token_s(model, token_ns)


def cost_text(model: ModelSummary, engines: Sequence[str], tokens: int, token_ns: float | None) -> str:
    """The estimated cost: `about 25 s; 5 processes with about 90.2 MB of weights`."""
    lasts = show_duration(estimated_s(model, engines, tokens, token_ns))
    weights = sum(model.parameters * _weight_bytes(engine) for engine in engines)
    return f"{lasts}; {len(engines)} processes with about {show_bytes(weights)} of weights"


def _weight_bytes(engine: str) -> float:
    """Bytes per parameter; quantized matrices are most of a model."""
    choice = engine_of(engine)
    match choice.precision:
        case Float():
            return float(choice.float_bytes)
        case Grouped(scheme):
            return scheme.bits / 8 + _SCALE_BYTES
        case Mixed():
            return _MIXED_BYTES
