"""A comparison as tables: summary, first different sites and tokens, then layer by layer."""

from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING

from edge.picture.units import show_bytes, show_error, show_number, show_share, show_tolerance
from edge.tables import Cell, Column, Table
from models.sites import ATTENTION, ATTENTION_OUTPUT, FFN_OUTPUT, KEY, NEURONS, QUERY, VALUE

if TYPE_CHECKING:
    from edge.compare.result import ComparedVariant, Comparison, VariantResult

_SITES = {
    "input": "input",
    QUERY: "query",
    KEY: "key",
    VALUE: "value",
    ATTENTION_OUTPUT: ATTENTION,
    NEURONS: "neurons",
    FFN_OUTPUT: "FFN",
    "output": "output",
}
"""The sites of a layer, with headings short enough for 80 columns."""

_LAYER = Column("layer", "layer")
_SITE_COLUMNS = tuple(Column(part, heading) for part, heading in _SITES.items())
_HEAD_COLUMNS = (Column("head_bits", "heads, bits"), Column("largest_head_bits", "largest"))
_ROUTING_COLUMNS = (Column("same_experts", "same experts"), Column("flips", "flips (near ties)"))
_PLACES = (
    Column("variant", "variant"),
    Column("site", "first site over tolerance"),
    Column("token", "token"),
    Column("error", "error"),
    Column("tolerance", "tolerance"),
    Column("largest", "largest error"),
)
_CHOICES = (
    Column("variant", "variant"),
    Column("equal_tokens", "equal tokens"),
    Column("chosen", "then"),
    Column("reference", "reference"),
    Column("margin_nats", "margin, nats"),
)


def summary_table(found: "Comparison") -> Table:
    """One row per measure, one column per variant: speed, memory and predictions."""
    reference, costs, differences = found.reference, _costs(found), _differences()
    columns = [[show(reference) for _, show in costs] + ["-"] * len(differences)]
    columns += [[show(one) for _, show in costs] + [show(one) for _, show in differences] for one in found.variants]
    headings = [Column("measure", "")]
    for index, name in enumerate([reference.name, *(one.name for one in found.variants)]):
        width = max(map(len, (name, *columns[index])))
        headings.append(Column(name, name.rjust(width)))
        columns[index] = [cell.rjust(width) for cell in columns[index]]
    labels = [label for label, _ in costs] + [label for label, _ in differences]
    return Table(headings, list(zip(labels, *columns, strict=True)))


def places_table(found: "Comparison") -> Table:
    """The first site of each variant over its tolerance, in the order of computation."""
    rows: list[tuple[Cell, ...]] = []
    for one in found.variants:
        at, worst = one.first_divergent_site, one.worst_site
        rows.append(
            (
                one.name,
                at.site if at else "none" if one.sites else "-",
                f"{at.token} {at.piece!r}" if at else None,
                show_error(at.relative_error) if at else None,
                show_tolerance(one.tolerance) if one.sites else None,
                show_error(one.sites[worst]) if worst else None,
            )
        )
    return Table(_PLACES, rows)


def choices_table(found: "Comparison") -> Table:
    """The first token of each variant that differs in greedy decoding."""
    rows: list[tuple[Cell, ...]] = []
    for one in found.variants:
        at = one.first_divergent_token
        if at is None:
            rows.append((one.name, f"all {found.text.generated_tokens}", None, None, None))
        else:
            lead = show_number(at.margin_nats) + (", a near tie" if at.is_near_tie else "")
            rows.append((one.name, str(at.position), repr(at.piece), repr(at.reference_piece), lead))
    return Table(_CHOICES, rows)


def layer_tables(found: "Comparison", one: "ComparedVariant", columns: int) -> list[Table]:
    """Errors of every site, changes of heads and neurons, and routing, per layer.

    One table if it fits `columns`, else one for each; without a mixture of experts, none for routing.
    """
    layers = range(max(len(shares) for subject in (found.reference, one) for shares in subject.sparsity.values()))
    numbers: list[tuple[Cell, ...]] = [(str(layer),) for layer in layers]
    groups: list[tuple[tuple[Column, ...], list[tuple[Cell, ...]]]] = [
        (_SITE_COLUMNS, [_site_cells(one, layer) for layer in layers]),
        (_inside_columns(), [_inside_cells(found.reference, one, layer) for layer in layers]),
    ]
    if one.routing:
        groups.append((_ROUTING_COLUMNS, [_routing_cells(one, layer) for layer in layers]))
    headings = chain.from_iterable(own for own, _ in groups)
    by_layer = zip(numbers, *(rows for _, rows in groups), strict=True)
    whole = Table((_LAYER, *headings), [tuple(chain.from_iterable(row)) for row in by_layer])
    if max(map(len, whole.text().splitlines())) <= columns:
        return [whole]
    return [
        Table((_LAYER, *own), [(*number, *row) for number, row in zip(numbers, rows, strict=True)])
        for own, rows in groups
    ]


def variant_table(found: "Comparison") -> Table:
    """One row per variant with unformatted values, for spreadsheets."""
    rows = [_raw(found.reference) | dict.fromkeys(_raw_differences(found.variants[0]))]
    rows += [_raw(one) | _raw_differences(one) for one in found.variants]
    return Table([Column(key, key) for key in rows[0]], [tuple(row.values()) for row in rows])


def _costs(found: "Comparison") -> "list[tuple[str, Callable[[VariantResult], str]]]":
    prompt = found.reference.speed.workload.prompt
    return [
        ("decode, ms per token", lambda one: show_number(one.speed.decode_ms)),
        ("  speedup", lambda one: show_number(found.reference.speed.decode_ms / one.speed.decode_ms)),
        ("  p90, ms", lambda one: show_number(one.speed.decode_p90_ms)),
        (f"prefill of {prompt}, ms", lambda one: show_number(one.speed.prefill_ms)),
        ("threads", lambda one: str(one.threads)),
        ("process peak", lambda one: _bytes(one.memory.process_peak_bytes)),
        ("weights on disk", lambda one: _bytes(one.memory.weights_bytes)),
        ("weights in memory", lambda one: _bytes(one.memory.weights_memory_bytes)),
        ("perplexity", lambda one: f"{show_number(one.perplexity.value)} ± {show_number(one.perplexity.error)}"),
    ]


def _differences() -> "list[tuple[str, Callable[[ComparedVariant], str]]]":
    return [
        ("  minus the reference's", lambda one: show_number(one.predictions.perplexity_difference.value)),
        ("  standard error", lambda one: show_number(one.predictions.perplexity_difference.error)),
        ("KL divergence, mean nats", lambda one: show_number(one.predictions.kl_mean_nats)),
        ("  median", lambda one: show_number(one.predictions.kl_median_nats)),
        ("  p99", lambda one: show_number(one.predictions.kl_p99_nats)),
        ("  max", lambda one: show_number(one.predictions.kl_max_nats)),
        ("largest logit difference", lambda one: show_number(one.predictions.max_logit_difference)),
        ("top-1 agreement", lambda one: show_share(one.predictions.top1_agreement)),
        ("  different, of these near ties", lambda one: f"{one.predictions.flips}, {one.predictions.near_tie_flips}"),
    ]


def _site_cells(one: "ComparedVariant", layer: int) -> tuple[str | None, ...]:
    """Relative errors, with a star above the tolerance; None if the two have no such site of one shape."""
    found = [one.sites.get(f"layers.{layer}.{part}") for part in _SITES]
    return tuple(None if error is None else show_error(error) + " *"[not error <= one.tolerance] for error in found)


def _inside_cells(reference: "VariantResult", one: "ComparedVariant", layer: int) -> tuple[Cell, ...]:
    heads = one.heads[layer] if layer < len(one.heads) else None
    furthest = max(range(len(heads)), key=heads.__getitem__) if heads else None
    return (
        show_error(sum(heads) / len(heads)) if heads else None,
        f"{show_error(heads[furthest])} (head {furthest})" if heads and furthest is not None else None,
        *(cell for key, shares in one.sparsity.items() for cell in _change(reference.sparsity[key], shares, layer)),
    )


def _routing_cells(one: "ComparedVariant", layer: int) -> tuple[Cell, ...]:
    """Share of tokens with the reference's experts, and how many have others."""
    row = one.routing[layer] if layer < len(one.routing) else None
    if row is None:
        return None, None
    tied = "unknown" if row.near_tie_flips is None else row.near_tie_flips
    return show_share(row.same_experts), f"{row.flips} ({tied})" if row.flips else "0"


def _inside_columns() -> tuple[Column, ...]:
    from edge.measure.registry import SHARE_MEASURES

    shares = (
        (Column(one.key, one.title, one.unit.show), Column(f"{one.key}_points", "pp", "+.2f")) for one in SHARE_MEASURES
    )
    return (*_HEAD_COLUMNS, *(column for pair in shares for column in pair))


def _change(before: tuple[float, ...], after: tuple[float, ...], layer: int) -> tuple[float | None, float | None]:
    """A share of one layer, and how many percentage points it is above the reference's."""
    share = after[layer] if layer < len(after) else None
    if share is None or layer >= len(before):
        return share, None
    return share, round(100 * (share - before[layer]), 2) + 0.0  # turns -0.0 into 0.0


def _raw(one: "VariantResult") -> dict[str, Cell]:
    return {
        "variant": one.name,
        "model": one.model,
        "engine": one.engine,
        "threads": one.threads,
        "decode_ms": one.speed.decode_ms,
        "decode_p90_ms": one.speed.decode_p90_ms,
        "prefill_ms": one.speed.prefill_ms,
        "weights_bytes": one.memory.weights_bytes,
        "weights_memory_bytes": one.memory.weights_memory_bytes,
        "kv_bytes": one.memory.kv_bytes,
        "allocator_peak_bytes": one.memory.allocator_peak_bytes,
        "process_peak_bytes": one.memory.process_peak_bytes,
        "perplexity": one.perplexity.value,
        "perplexity_error": one.perplexity.error,
    }


def _raw_differences(one: "ComparedVariant") -> dict[str, Cell]:
    same, site, token = one.predictions, one.first_divergent_site, one.first_divergent_token
    return {
        "perplexity_difference": same.perplexity_difference.value,
        "perplexity_difference_error": same.perplexity_difference.error,
        "kl_mean_nats": same.kl_mean_nats,
        "kl_median_nats": same.kl_median_nats,
        "kl_p99_nats": same.kl_p99_nats,
        "kl_max_nats": same.kl_max_nats,
        "max_logit_difference": same.max_logit_difference,
        "top1_agreement": same.top1_agreement,
        "flips": same.flips,
        "near_tie_flips": same.near_tie_flips,
        "tolerance": one.tolerance if one.sites else None,
        "first_divergent_site": site.site if site else None,
        "first_divergent_site_token": site.token if site else None,
        "first_divergent_site_error": site.relative_error if site else None,
        "first_divergent_token": token.position if token else None,
        "first_divergent_token_margin_nats": token.margin_nats if token else None,
    }


def _bytes(size: int | None) -> str:
    return "-" if size is None else show_bytes(size)
