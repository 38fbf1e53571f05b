"""How far clocks inside a pass agree with the pass, in words: one wording for tables, pages and screens."""

from edge.picture.units import show_share, show_time
from edge.timing import Account, Basis, Differenced

RULE = (
    "Measured: as the clocks say, medians. Coverage: Σ of the parts as measured / the median of whole passes "
    "without clocks. Where it is above 100%, parts are scaled down to the whole pass, and the gap is not known; where "
    "it is above 115%, the clocks slowed the pass, and shares are of the pass with clocks. Gap: what of the pass no "
    "part accounts for."
)
"""What the words below rest on."""


BEYOND = (
    ">100%: faster than the sweep, which reads from memory beyond every cache and multiplies float32; the part read "
    "from a cache, or multiplied in 8 bits, or the sweep was disturbed"
)
"""What stands beside a rate that exceeds what the sweep reached."""


def show_reached(ratio: float) -> str:
    """A rate over the best that the sweep reached; `>100%`, to be told by `BEYOND`, where the sweep is no ceiling."""
    return ">100%" if ratio > 1.0 else f"{ratio:.0%}"


def share_title(account: Account) -> str:
    """What shares are of, after `share `: `of the pass`, `of the pass with clocks`."""
    return f"of {account.basis}"


def cover_words(account: Account) -> str:
    """How much of the pass the parts cover, and what follows for shares and the gap."""
    covers = f"clocks cover {show_share(account.coverage)} of the pass"
    if account.gap_ns is not None and account.gap_share is not None:
        return f"{covers}, gap {show_time(account.gap_ns)}, {show_share(account.gap_share)}"
    if account.basis is Basis.PASS:
        return f"{covers}, parts are scaled down to it, gap not known"
    return f"{covers}: they slowed it, gap not known"


def difference_words(found: Differenced) -> str:
    """What a pass takes less without its sublayers, and whether that adds up."""
    told = (("attention", found.attn_ns), ("FFN", found.ffn_ns), ("rest", found.rest_ns))
    parts = ", ".join(f"{name} {show_time(took)}" for name, took in told)
    covers = f"together {show_share(found.coverage)} of the pass"
    return f"by differencing: {parts}; {covers}" + ("" if found.agrees else ", so they do not add up")


def cover_note(account: Account) -> str:
    """The same for the edge of a frame."""
    covers = f"clocks cover {show_share(account.coverage)}"
    if account.gap_share is not None:
        return f"{covers} · gap {show_share(account.gap_share)}"
    return f"{covers}, scaled down" if account.basis is Basis.PASS else f"{covers}: they slowed it, times are scaled"
