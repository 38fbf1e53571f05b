"""What an export is made of and what it came to: the weights in the chosen precision, and the parity of its graphs."""

from pathlib import Path
from typing import TYPE_CHECKING

from edge.tables import Column, Table

if TYPE_CHECKING:
    from export.logit_difference import LogitDifference
    from models.checkpoint import Checkpoint
    from models.precision import Precision
    from models.progress import Progress

_PARITY = (
    Column("compared", "compared"),
    Column("max_logit_difference", "largest logit difference", ".1e"),
    Column("mean_kl_nats", "mean KL, nats", ".1e"),
    Column("p99_kl_nats", "p99 KL, nats", ".1e"),
    Column("top1_agreement", "top-1 agreement", ".1%"),
    Column("perplexity", "perplexity", ".2f"),
    Column("reference_perplexity", "reference's", ".2f"),
    Column("positions", "positions"),
)
LARGE_LOSS = 0.05
"""The rise of perplexity above which a quantization is called a large loss; our own choice."""


def prepared(
    original: "Checkpoint", chosen: "Precision", progress: "Progress", keep: tuple[str, ...] = ()
) -> "Checkpoint":
    """The checkpoint in the precision of its export."""
    from export.quantizing import as_quantized, prepare_quantized, scheme_to_quantize
    from models.errors import MisuseError
    from models.precision import FP32

    if original.quantized:
        as_quantized(original, chosen)  # refuses what its weights cannot become
        return original
    if scheme := scheme_to_quantize(chosen):
        return prepare_quantized(original, scheme, progress, keep)
    if keep:
        raise MisuseError("--keep says which matrices are not quantized; add --precision int4 or int8")
    if chosen != FP32:
        raise MisuseError(f"graphs in {chosen} are not exported; --precision takes fp32, int4 and int8")
    return original


def parity_table(written: Path) -> Table:
    """How far an export is from torch, as its manifest says."""
    from export.manifest import read_manifest

    manifest = read_manifest(written)
    rows = [
        (
            name,
            one.max_logit_difference,
            one.mean_kl_nats,
            one.p99_kl_nats,
            one.top1_agreement,
            one.perplexity,
            one.reference_perplexity,
            one.positions,
        )
        for name, one in (manifest.parity if manifest else {}).items()
    ]
    return Table(_PARITY, rows)


def parity_lines(written: Path) -> list[str]:
    """The ONNX Runtime version that the graphs need, and the effect of quantization, in sentences."""
    from export.logit_difference import QUANTIZATION
    from export.manifest import read_manifest

    manifest = read_manifest(written)
    if manifest is None:
        return []
    lines = [f"the graphs need ONNX Runtime {manifest.oldest_onnxruntime} or newer (opset {manifest.opset})"]
    cost = manifest.parity.get(QUANTIZATION)
    return lines if cost is None else [*lines, quantization_line(cost)]


def quantization_line(cost: "LogitDifference") -> str:
    """The effect of quantization: top-1 agreement, and perplexity on a text."""
    same = f"top-1 agreement is {cost.top1_agreement:.1%} at {cost.positions} positions"
    if cost.perplexity is None or cost.reference_perplexity is None:
        return f"quantization: {same} (random ids: the checkpoint has no tokenizer, so text may differ)"
    ratio = cost.perplexity / cost.reference_perplexity
    effect = (
        f"quantization: {same} of a text, and perplexity is {cost.perplexity:.2f} where the original weights have "
        f"{cost.reference_perplexity:.2f} ({ratio - 1:+.1%}; lower is better)"
    )
    if ratio <= 1 + LARGE_LOSS:
        return effect
    return (
        f"{effect}. That is a large loss, and text becomes visibly worse; int8, or --keep for some matrices, loses less"
    )
