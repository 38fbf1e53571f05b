"""Texts about timer coverage, shared by tables, pages and screens: how much of a pass the timed parts sum to."""

from edge.picture.units import show_share, show_time
from edge.timing import Basis, Differenced, TimeBreakdown

COVERAGE_RULE = (
    "Measured: median of each timed part. Coverage: Σ of the timed parts / uninstrumented latency (median pass without "
    "timers). Above 100%, parts are scaled down to that latency, and unattributed time is unknown. Above 115%, timers "
    "slowed the pass, and shares are of the pass with timers. Unattributed time: latency less all timed parts."
)
"""Definitions of the terms in the texts below."""


ABOVE_BENCHMARK = (
    ">100%: faster than the benchmark of this machine, which reads main memory and multiplies float32. The part read "
    "from a cache, multiplied in 8 bits, or the benchmark was disturbed"
)
"""Explains a rate above that of the benchmark (`edge.profile.machine`)."""


def show_reached(ratio: float) -> str:
    """A rate as a share of the best that the benchmark reached; `>100%`, explained by `ABOVE_BENCHMARK`, above it."""
    return ">100%" if ratio > 1.0 else f"{ratio:.0%}"


def share_title(account: TimeBreakdown) -> str:
    """What shares are of, to follow `share `: `of the pass`, `of the pass with timers`."""
    return f"of {account.basis}"


def coverage_text(account: TimeBreakdown) -> str:
    """Coverage of the pass by timed parts, and the unattributed time where it is known."""
    covers = f"{show_share(account.coverage)}: Σ of timed parts / uninstrumented pass"
    if account.gap_ns is not None and account.gap_share is not None:
        return f"{covers}; unattributed {show_time(account.gap_ns)}, {show_share(account.gap_share)}"
    if account.basis is Basis.PASS:
        return f"{covers}; parts are scaled down to the pass; unattributed time unknown"
    return f"{covers}; timers slowed the pass; unattributed time unknown"


BY_DIFFERENCING = "by differencing, a pass minus a pass without attention or FFNs"
"""Heads what `difference_text` says."""


def difference_text(found: Differenced) -> str:
    """Time of attention, of FFNs and outside layers, by passes that leave sublayers out; and whether they add up."""
    parts_ns = (("attention", found.attn_ns), ("FFN", found.ffn_ns), ("outside layers", found.rest_ns))
    parts = ", ".join(f"{name} {show_time(took)}" for name, took in parts_ns)
    whole = f"sum {show_share(found.coverage)} of the {show_time(found.total_ns)} of whole passes timed with them"
    return f"{parts}; {whole}" + ("" if found.agrees else ", so they do not add up")


def coverage_note(account: TimeBreakdown) -> str:
    """The same, short, for a border title."""
    covers = f"coverage {show_share(account.coverage)}"
    if account.gap_share is not None:
        return f"{covers} · unattributed {show_share(account.gap_share)}"
    return f"{covers}, times scaled down"
