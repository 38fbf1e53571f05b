"""Benchmarks Edge's engines against other runtimes; `make bench` calls it."""

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from _pytest.outcomes import Skipped

from edge.profile.machine import measure_roofline, this_machine
from tests.bench import runtimes as who
from tests.bench.checkpoint import LLAMA_1B, LLAMA_135M, Shape, write_checkpoint
from tests.bench.mixture import FEW, MIXTURE, MIXTURE_PAIRS
from tests.bench.opening import report_opening
from tests.bench.pairs import Pair, Result, RuntimeFailed, Workload, time_pair
from tests.bench.record import Record, as_json, as_page, as_text, cells, line
from tests.bench.runtimes import FEW_EXPERTS
from tests.real import smollm2_gguf

OPEN = "open"
"""The name of the measurement of opening a file."""

PAIRS = (
    Pair(who.EDGE_ONNX, who.BARE, decode_aim=0.85, prefill_aim=0.7),
    Pair(who.EDGE_ONNX, who.GENAI, decode_aim=0.9, prefill_aim=1.25),
    Pair(who.EDGE_ONNX, who.LLAMA_CPP),
    Pair(who.EDGE_INT4, who.GENAI_INT4, decode_aim=1.0),
    Pair(who.EDGE_INT4_WIDE, who.GENAI_INT4, decode_aim=1.3),
    Pair(who.EDGE_INT4, who.LLAMA_CPP_INT4),
    Pair(who.EDGE_INT4_WIDE, who.LLAMA_CPP_INT4),
    Pair(who.EDGE_Q4_1, who.EDGE_SYMMETRIC, decode_aim=0.9),
    Pair(who.EDGE_Q4_1, who.LLAMA_CPP_Q4_1, decode_aim=1.0),
    Pair(who.EDGE_Q4_0, who.LLAMA_CPP_INT4),
    Pair(who.EDGE_DEEP, who.EDGE_ONNX, decode_aim=1 / 1.5),
    Pair(who.EDGE_ONNX, who.TRANSFORMERS),
    Pair(who.EDGE_MLX, who.MLX_LM, decode_aim=1.0, prefill_aim=1.0),
    Pair(who.EDGE_ONNX_SITES, who.EDGE_ONNX, decode_aim=1 / 1.15, prefill_aim=1 / 1.15),
    Pair(who.EDGE_ONNX_ALL, who.EDGE_ONNX),
    Pair(who.EDGE_TORCH, who.TRANSFORMERS),
)

GGUF_PAIRS = (
    Pair(who.EDGE_Q4_1, who.EDGE_Q4_0, decode_aim=0.9, model="1.2B"),
    Pair(who.EDGE_Q4_K, who.EDGE_Q4_0, decode_aim=0.9, model="1.2B"),
    Pair(who.EDGE_Q4_0, who.LLAMA_CPP_INT4, decode_aim=1.0, model="1.2B"),
    Pair(who.EDGE_Q4_1, who.LLAMA_CPP_Q4_1, decode_aim=1.0, model="1.2B"),
    Pair(who.EDGE_Q4_K, who.LLAMA_CPP_Q4_K, decode_aim=1.0, model="1.2B"),
)
"""GGUF files at the size that people run. Q4_0 has the scheme of int4-sym; Q4_1 and Q4_K have offsets."""


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each runtime (default 5)")
    parser.add_argument("--prompt", type=int, default=256, help="tokens of the prompt (default 256)")
    parser.add_argument("--tokens", type=int, default=64, help="tokens generated after the first (default 64)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)) if sys.platform == "linux" else 4)
    parser.add_argument("--rest", type=float, default=1.0, help="pause before each run, in seconds (default 1)")
    parser.add_argument("--only", default="", help="run only pairs with this text in a name, such as 'mlx'")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all measured times to FILE")
    parser.add_argument(
        "--write", type=Path, metavar="PAGE", help="write the results to PAGE, such as docs/benchmarks.md"
    )
    options = parser.parse_args()
    if options.write and options.only:
        parser.error("--write needs the results of all pairs; remove --only")
    return options


def _command(workload: Workload, only: str) -> str:
    """The command that repeats this run."""
    words = ["python", "-m", "tests.bench", "--rounds", workload.rounds, "--prompt", workload.prompt]
    words += ["--tokens", workload.tokens, "--threads", workload.threads, "--rest", f"{workload.rest_s:g}"]
    return shlex.join(map(str, [*words, *(["--only", only] if only else [])]))


def _warn_of_load(busy: float | None, cores: int) -> None:
    """Warns if the machine is busy, since ratios then vary more."""
    if busy is not None and busy > cores / 2:
        _say(f"the load average is {busy:.1f} (1 minute) on {cores} cores: wait until it falls, or use more --rounds")


def _time_all(
    pairs: Sequence[Pair], folder: Path, workload: Workload, only: str
) -> tuple[tuple[Result, ...], tuple[str, ...]]:
    """Results of every pair whose packages are installed, and the reasons why others did not run."""
    results: list[Result] = []
    left_out: list[str] = []
    for pair in pairs:
        if only not in pair.name:
            continue
        if pair.missing:
            left_out.append(f"{pair.name} ({', '.join(pair.missing)} not installed)")
            continue
        try:
            results.append(time_pair(pair, folder, workload, _say))
            _say(line(cells(results[-1])))
        except RuntimeFailed as failure:
            left_out.append(f"{pair.name} ({failure})".replace(f"{folder.parent}{os.sep}", ""))
    return tuple(results), tuple(left_out)


def main() -> int:
    options, machine = _options(), this_machine()
    _warn_of_load(machine.busy, machine.cores)
    workload = Workload(options.prompt, options.tokens, options.rounds, options.threads, options.rest)
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as temporary:
        os.environ["EDGE_CACHE"] = temporary  # graphs and codes made for this benchmark are deleted when it ends
        records = []
        for shape, pairs in ((LLAMA_135M, PAIRS), (LLAMA_1B, GGUF_PAIRS), (MIXTURE, MIXTURE_PAIRS)):
            if not any(options.only in pair.name for pair in pairs):
                continue
            folder = _written(Path(temporary), shape)
            before = measure_roofline(workload.threads, _say)
            results, left_out = _time_all(pairs, folder, workload, options.only)
            rooflines = before, measure_roofline(workload.threads, _say)
            command = _command(workload, options.only)
            records.append(Record(command, shape, workload, machine, results, left_out, rooflines))
            print(as_text(records[-1]))
    if options.only in ("", OPEN):
        _open_published(workload.threads)
        if options.only:
            return 0
    if options.json:
        options.json.write_text(as_json(records), encoding="utf8")
    if options.write:
        options.write.write_text(as_page(*records), encoding="utf8")
        _say(f"written to {options.write}")
    return 0 if any(record.results for record in records) else 1


def _open_published(threads: int) -> None:
    """Opens a published GGUF file with an empty cache, and again; prints what takes the time."""
    try:
        file = smollm2_gguf()
    except Skipped as reason:
        print(f"did not run: opening a GGUF file ({reason})")
        return
    report_opening(file, threads, _say)


def _written(root: Path, shape: Shape) -> Path:
    """The folder with a model of this shape; for a mixture, the one with fewer experts is next to it."""
    folder = root / shape.name.replace(" ", "-")
    for one, where in ((shape, folder), *(((FEW, root / FEW_EXPERTS),) if shape is MIXTURE else ())):
        _say(f"writing {one} ({one.float32_bytes / 1e6:.0f} MB)")
        write_checkpoint(where, one)
    return folder


if __name__ == "__main__":
    sys.exit(main())
