"""`edge compare --tensors`: what quantizing each matrix costs, as a table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edge.commands.options import print_message
from edge.picture.units import show_bytes, show_number, show_share
from edge.tables import Cell, Column, Table
from models.errors import MisuseError

if TYPE_CHECKING:
    from edge.compare.tensors import TensorCosts
    from edge.compare.tokenized_text import TokenizedText
    from edge.compare.variants import ChosenVariant


def _short(kinds: str) -> str:
    """Labels without the size of groups: `int4`, `Q4_K, Q6_K`, `GPTQ 4 bits`."""
    return ", ".join(part for part in kinds.split(", ") if not part.startswith("groups of"))


_COLUMNS = (
    Column("group", "quantized"),
    Column("kinds", "as", _short),
    Column("kl_nats", "KL alone", show_number),
    Column("saved_bytes", "saved", show_bytes),
    Column("price", "KL per MB", show_number),
    Column("total_kl_nats", "KL so far", show_number),
    Column("total_bytes", "size", show_bytes),
    Column("total_top1_agreement", "top-1", show_share),
)


def tensors_text(chosen: "Sequence[ChosenVariant]", passage: "TokenizedText", by_kind: bool, layout: str | None) -> str:
    """Measures two variants matrix by matrix; the printed table, with a title for people.

    Raises:
        MisuseError: there are not two variants, or they are not one model in two precisions.
    """
    from edge.compare.tensors import measure_tensors
    from edge.engines.choice import engine_of
    from edge.engines.registry import as_computed
    from models.checkpoint import open_checkpoint

    if len(chosen) != 2:
        raise MisuseError(
            f"--tensors compares two variants, not {len(chosen)}; name two models, or one with -e onnx -e onnx:int4"
        )
    engines = [engine_of(one.variant.engine) for one in chosen]
    first, second = (
        as_computed(engine, open_checkpoint(one.variant.path), print_message)[1]
        for engine, one in zip(engines, chosen, strict=True)
    )
    found = measure_tensors(
        first,
        second,
        engines[0].name,
        passage,
        by_kind=by_kind,
        threads=chosen[0].variant.threads,
        progress=print_message,
    )
    table = tensor_table(found)
    if layout in ("json", "csv"):
        return table.write(layout)
    return f"{_title(found, [one.name for one in chosen])}\n\n{table.write(layout or 'text')}\n\n{_LEGEND}"


_LEGEND = (
    "KL: mean divergence of next-token distributions from the first variant's, in nats. Alone: only this group is\n"
    "quantized. So far: with all groups above it too. Cheapest first: least KL per MB saved on disk."
)


def _title(found: "TensorCosts", names: list[str]) -> str:
    first, second = names
    return (
        f"{first} ({show_bytes(found.first_bytes)}) with the matrices of {second}, one group at a time.\n"
        f"{found.tokens} tokens of text ({found.source}), computed by {found.engine} in float32."
    )


def tensor_table(found: "TensorCosts") -> Table:
    """One row per group, cheapest first."""
    rows: list[tuple[Cell, ...]] = [
        (
            step.group.name,
            ", ".join(step.group.kinds),
            step.alone.kl_mean_nats,
            step.group.saved_bytes,
            step.price,
            step.total.kl_mean_nats,
            step.total_bytes,
            step.total.top1_agreement,
        )
        for step in found.steps
    ]
    return Table(_COLUMNS, rows)
