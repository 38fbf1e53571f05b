"""Draws what quantizing each matrix of a bundled model costs: size against KL divergence, cheapest first.

python -m tests.bench.tensors docs/how-to/compare-tensors.svg
"""

import sys
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from edge.commands.options import print_message
from edge.compare.tensors import TensorCosts, measure_tensors
from edge.compare.tokenized_text import tokenize_text
from export.quantizing import prepare_quantized
from models.checkpoint import open_checkpoint
from models.precision import Grouped, precision_of
from models.tokenizer import open_tokenizer
from models.zoo import zoo_folder

MODEL, PRECISION, ENGINE, TOKENS = "fable-relu", "int4", "torch", 512


def main(arguments: list[str]) -> int:
    """The command. Returns the exit code."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    by_kind, alone = (_measured(by_kind=by_kind) for by_kind in (True, False))
    draw(by_kind, alone, Path(arguments[0]))
    return 0


def _measured(*, by_kind: bool) -> TensorCosts:
    folder, precision = zoo_folder(MODEL), precision_of(PRECISION)
    assert folder is not None and isinstance(precision, Grouped)
    first = open_checkpoint(folder)
    second = prepare_quantized(first, precision.scheme, print_message)
    text = tokenize_text(open_tokenizer(first.source.texts()), None, TOKENS)
    return measure_tensors(first, second, ENGINE, text, by_kind=by_kind, threads=None, progress=print_message)


def draw(by_kind: TensorCosts, alone: TensorCosts, file: Path) -> None:
    """Writes an SVG: each group alone on the left, and their running total on the right."""
    figure = Figure(figsize=(9, 3.6), facecolor="white", layout="constrained")
    bars, curves = figure.subplots(1, 2)
    names = [step.group.name for step in by_kind.steps]
    bars.barh(names, [step.alone.kl_mean_nats for step in by_kind.steps], color="#3b6ea5")
    bars.invert_yaxis()
    bars.set_xlabel("KL divergence, nats: only this kind in 4 bits")
    for costs, label, style in ((alone, "matrix by matrix", "-"), (by_kind, "kind by kind", "o--")):
        sizes = [costs.first_bytes, *(step.total_bytes for step in costs.steps)]
        totals = [0.0, *(step.total.kl_mean_nats for step in costs.steps)]
        curves.plot([size / 1e6 for size in sizes], totals, style, ms=4, label=label)
    curves.invert_xaxis()
    curves.set_xlabel("MB on disk")
    curves.set_ylabel("KL divergence so far, nats")
    curves.legend(fontsize="small", frameon=False)
    with matplotlib.rc_context({"svg.hashsalt": "edge", "svg.fonttype": "path"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    print_message(f"written to {file}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
