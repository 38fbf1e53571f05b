"""Times one pass of an engine: uninstrumented passes, then instrumented ones with a timer per sublayer."""

from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter_ns

import numpy as np
from jaxtyping import Int64

from edge.engines.base import Engine
from edge.finite_checks import check_logits
from edge.generate import chunks
from edge.timing import Grain, PassTimes, SublayerTiming, medians
from edge.watch import Watch

Stopping = Callable[[], bool]

WARM_UP = 2
"""Passes before the first measured one: the first ones allocate memory and fill pools."""


def time_passes(
    engine: Engine, ids: tuple[int, ...], tokens: int, repeats: int, grains: Sequence[Grain], is_stopping: Stopping
) -> PassTimes | None:
    """Times the pass over the last `tokens` of `ids`, with the others in the cache; None if stopped.

    Half of the uninstrumented passes run before the instrumented ones and half after, so that a slowdown of the
    machine affects both kinds.

    Raises:
        EdgeError: numbers are not finite.
    """
    depth = len(ids) - tokens
    engine.clear()
    engine.reserve(len(ids))
    for chunk in chunks(ids[:depth], engine.spec):
        engine.feed(chunk, Watch.nothing())
        if is_stopping():
            return None
    timed, before = np.array(ids[depth:], np.int64), engine.mark()
    half = (repeats + 1) // 2
    whole_ns = _whole_passes(engine, timed, WARM_UP + half, is_stopping)[WARM_UP:]
    if is_stopping():
        return None
    logits = engine.feed(timed, Watch.nothing()).logits
    check_logits(engine, (*chunks(ids[:depth], engine.spec), timed), (), logits)
    engine.restore(before)
    took_ns = {grain: tuple(engine.feed_instrumented(timed, repeats, grain)) for grain in grains}
    whole_ns += _whole_passes(engine, timed, half, is_stopping)
    if is_stopping():
        return None
    return PassTimes(
        tokens=tokens,
        depth=depth,
        whole_ns=tuple(whole_ns),
        sublayers_ns=took_ns[Grain.SUBLAYER],
        parts_ns=took_ns.get(Grain.PART, ()),
    )


def time_sublayers(
    engine: Engine, ids: tuple[int, ...], tokens: int, repeats: int, is_stopping: Stopping
) -> SublayerTiming | None:
    """Time of each sublayer in such a pass; None if stopped."""
    times = time_passes(engine, ids, tokens, repeats, (Grain.SUBLAYER,), is_stopping)
    if times is None:
        return None
    return SublayerTiming(
        engine=engine.name,
        tokens=times.tokens,
        depth=times.depth,
        repeats=repeats,
        threads=engine.threads,
        method=engine.timing_method,
        total_ns=median(times.whole_ns),
        measured_ns=medians(times.sublayers_ns),
    )


def _whole_passes(engine: Engine, ids: Int64[np.ndarray, " token"], repeats: int, is_stopping: Stopping) -> list[float]:
    took_ns: list[float] = []
    before = engine.mark()
    while len(took_ns) < repeats and not is_stopping():
        started_ns = perf_counter_ns()
        engine.feed(ids, Watch.nothing())
        took_ns.append(float(perf_counter_ns() - started_ns))
        engine.restore(before)
    return took_ns
