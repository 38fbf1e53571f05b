"""Races Edge's engines beside other runtimes and prints ratios; `make bench` calls it."""

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from statistics import median

from edge import __version__
from edge.engines.blas import blas_behind_mlx
from tests.bench import contenders as who
from tests.bench.checkpoint import SHAPE, write_checkpoint
from tests.bench.race import ContenderFailed, Course, Pair, Result, race

PAIRS = (
    Pair(who.EDGE_ONNX, who.BARE, decode_aim=0.85, prefill_aim=0.7),
    Pair(who.EDGE_ONNX, who.GENAI, decode_aim=0.9, prefill_aim=1.25),
    Pair(who.EDGE_INT4, who.GENAI_INT4, decode_aim=1.0),
    Pair(who.EDGE_INT4_WIDE, who.GENAI_INT4, decode_aim=1.3),
    Pair(who.EDGE_DEEP, who.EDGE_ONNX, decode_aim=1 / 1.5),
    Pair(who.EDGE_ONNX, who.TRANSFORMERS),
    Pair(who.EDGE_MLX, who.MLX_LM, decode_aim=1.0, prefill_aim=1.0),
    Pair(who.EDGE_ONNX_SITES, who.EDGE_ONNX, decode_aim=1 / 1.15, prefill_aim=1 / 1.15),
    Pair(who.EDGE_ONNX_ALL, who.EDGE_ONNX),
    Pair(who.EDGE_TORCH, who.TRANSFORMERS),
)


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each contender (default 5)")
    parser.add_argument("--prompt", type=int, default=256, help="tokens of the prompt (default 256)")
    parser.add_argument("--tokens", type=int, default=64, help="tokens generated after the first (default 64)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)) if sys.platform == "linux" else 4)
    parser.add_argument("--rest", type=float, default=1.0, help="seconds of rest before each run (default 1)")
    parser.add_argument("--only", default="", help="race only pairs with this in a name, such as 'mlx'")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measured time to FILE too")
    return parser.parse_args()


def _row(result: Result) -> str:
    pair = result.pair
    return (
        f"{pair.edge.name:30} {pair.other.name:18}"
        f" {_part(result.decode_ms, result.decode_ratios, pair.decode_aim):50}"
        f" {_part(result.prefill_ms, result.prefill_ratios, pair.prefill_aim)}"
    ).rstrip()


def _part(took_ms: tuple[float, float], ratios: list[float], aim: float | None) -> str:
    """Both times, their ratio, its range over rounds, and the aim."""
    ratio = median(ratios)
    verdict = "" if aim is None else f"aim {aim:.2f} {'reached' if ratio >= aim else 'MISSED'}"
    return f"{took_ms[0]:7.1f} {took_ms[1]:7.1f} {ratio:6.2f} x ({min(ratios):.2f}–{max(ratios):.2f}) {verdict}"


def _as_json(results: list[Result], course: Course, left_out: list[str]) -> str:
    rows = [
        {
            "edge": result.pair.edge.name,
            "other": result.pair.other.name,
            "decode_ratio": median(result.decode_ratios),
            "prefill_ratio": median(result.prefill_ratios),
            "decode_aim": result.pair.decode_aim,
            "prefill_aim": result.pair.prefill_aim,
            "edge_times": [vars(times) for times in result.edge],
            "other_times": [vars(times) for times in result.other],
            "versions": [result.pair.edge.versions, result.pair.other.versions],
        }
        for result in results
    ]
    return json.dumps({"shape": SHAPE, "course": vars(course), "left_out": left_out, "rows": rows}, indent=1)


def _print(results: list[Result], course: Course, left_out: list[str]) -> None:
    print(f"\nedge {__version__} · {SHAPE}; random weights")
    print(
        f"{course.threads} threads · prompt {course.prompt} tokens · {course.tokens} intervals · "
        f"{course.rounds} rounds in turns · {platform.machine()} · Python {platform.python_version()}"
    )
    versions = {side.name: side.versions for result in results for side in (result.pair.edge, result.pair.other)}
    for name, of in versions.items():
        print(f"  {name}: {of}")
    if any("mlx" in name for name in versions):
        print(f"  BLAS behind mlx, edge's and mlx-lm's: {blas_behind_mlx()}")
    print("\nratio = other / edge, median over rounds (lowest–highest): above 1, the left one is faster")
    print(f"{'':50}{'  decode, ms a token':50}   prompt to first token, ms")
    for result in results:
        print(_row(result))
    for reason in left_out:
        print(f"left out: {reason}")


def _warn_of_company() -> None:
    """Ratios waver where other programs compute at the same time."""
    busy, cores = os.getloadavg()[0], os.cpu_count() or 1
    if busy > cores / 2:
        _say(f"{busy:.1f} programs are computing on {cores} cores already: wait for them, or take more --rounds")


def main() -> int:
    options = _options()
    _warn_of_company()
    course = Course(options.prompt, options.tokens, options.rounds, options.threads, options.rest)
    results: list[Result] = []
    left_out: list[str] = []
    with tempfile.TemporaryDirectory(prefix="edge-bench-") as temporary:
        os.environ["XDG_CACHE_HOME"] = temporary  # graphs made for this race go when it ends
        folder = Path(temporary) / "llama-135m"
        _say("writing the model (538 MB)")
        write_checkpoint(folder)
        for pair in PAIRS:
            name = f"{pair.edge.name} | {pair.other.name}"
            missing = (*pair.edge.missing, *pair.other.missing)
            if options.only not in name:
                continue
            if missing:
                left_out.append(f"{name} ({', '.join(missing)} not installed)")
                continue
            try:
                results.append(race(pair, folder, course, _say))
                print(_row(results[-1]), file=sys.stderr, flush=True)
            except ContenderFailed as failure:
                left_out.append(f"{name} ({failure})")
    _print(results, course, left_out)
    if options.json:
        options.json.write_text(_as_json(results, course, left_out))
    return 0 if results else 1


if __name__ == "__main__":
    sys.exit(main())
