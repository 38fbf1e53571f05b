"""The result of one run of the whole benchmark, as text, as JSON, and as the page `docs/benchmarks.md`."""

import json
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from statistics import median

from edge import __version__
from edge.engines.blas import blas_behind_mlx
from edge.picture.units import show_bytes, show_share
from edge.profile.machine import Machine, Roofline
from tests.bench.checkpoint import Shape
from tests.bench.pairs import Result, Workload
from tests.bench.runtimes import Runtime

_READING = """\
A ratio is the other's time divided by Edge's in the same round: above 1, Edge is faster. It is the median over rounds,
its lowest and highest in brackets. An aim is what the ratio should reach; a row without one only informs. Times are
medians: of every interval between two tokens in decoding, of the time from the prompt to the first token known.

Each contender runs in a process of its own, opened anew for every round, since one opening is up to a tenth faster than
the next for as long as it lasts; the two of a row in turns, the order turning round each time, with a rest before each
run, after one short run to warm up. All have the same random weights, choose greedily, and are given ids, so that
tokenization is left out. llama.cpp keeps keys and values in float16, as it does unless told otherwise; all
others in float32. Its Q4_0 has every matrix in 4 bits, the tied embedding too, as Edge's int4 has."""

_BANDWIDTH = """\
Decoding one token reads every weight once, so memory sets its pace. The bandwidth is that of a sweep over memory with
as many threads, before the race and after it; the higher one counts. Bytes are weights alone: keys and values come on
top."""


@dataclass(frozen=True)
class Record:
    """One run.

    Attributes:
        command: Repeats it.
        left_out: Pairs that did not run, each with the reason.
        rooflines: Results of the bandwidth benchmark, before the runs and after them.
    """

    command: str
    shape: Shape
    workload: Workload
    machine: Machine
    results: tuple[Result, ...]
    left_out: tuple[str, ...]
    rooflines: tuple[Roofline, Roofline]

    @property
    def bandwidth_bytes_per_s(self) -> float:
        return max(sweep.bandwidth_bytes_per_s for sweep in self.rooflines)

    @property
    def versions(self) -> dict[str, str]:
        """What each runtime computed with, by its name."""
        sides = [side for result in self.results for side in (result.pair.edge, result.pair.other)]
        return {side.name: side.versions for side in sides}


@dataclass(frozen=True)
class ReadRate:
    """How fast one runtime reads weights while it decodes: the median of all its intervals, in all pairs."""

    runtime: Runtime
    read_bytes: int
    token_ms: float

    @property
    def bytes_per_s(self) -> float:
        return 1e3 * self.read_bytes / self.token_ms


def read_rates(record: Record) -> list[ReadRate]:
    """Read rates of the runtimes whose bytes are known, the fastest first."""
    waits: dict[str, list[float]] = {}
    sides: dict[str, Runtime] = {}
    for result in record.results:
        for runtime, runs in ((result.pair.edge, result.edge), (result.pair.other, result.other)):
            sides[runtime.name] = runtime
            waits.setdefault(runtime.name, []).extend(wait for run in runs for wait in run.between_ms)
    found = [
        ReadRate(runtime, runtime.reads(record.shape), median(waits[name]))
        for name, runtime in sides.items()
        if runtime.reads is not None
    ]
    return sorted(found, key=lambda read_rate: -read_rate.bytes_per_s)


def ratio(ratios: list[float], aim: float | None) -> tuple[str, str]:
    """A median ratio with its range, and what became of the aim."""
    middle = median(ratios)
    verdict = "" if aim is None else f"{aim:.2f} {'reached' if middle >= aim else 'MISSED'}"
    return f"{middle:.2f} ({min(ratios):.2f}–{max(ratios):.2f})", verdict


def cells(result: Result) -> list[str]:
    """One row of the table."""
    pair = result.pair
    parts = (
        (result.decode_ms, result.decode_ratios, pair.decode_aim),
        (result.prefill_ms, result.prefill_ratios, pair.prefill_aim),
    )
    times = [cell for took, ratios, aim in parts for cell in (*(f"{ms:.1f}" for ms in took), *ratio(ratios, aim))]
    return [pair.edge.name, pair.other.name, *times]


HEADER = ("Edge", "beside", *("Edge, ms", "other, ms", "ratio", "aim") * 2)


def line(words: list[str]) -> str:
    """One row as text, in columns."""
    widths = (30, 26, *(9, 9, 19, 13) * 2)
    columns = zip(words, widths, HEADER, strict=True)
    return " ".join(f"{word:{'>' if 'ms' in head else '<'}{width}}" for word, width, head in columns).rstrip()


def as_text(record: Record) -> str:
    """For a terminal."""
    rows = [line(list(HEADER)), *(line(cells(result)) for result in record.results)]
    found = [
        f"{rate.runtime.name:30} {show_bytes(rate.read_bytes):>8} a token, {show_bytes(rate.bytes_per_s):>8}/s,"
        f" {show_share(rate.bytes_per_s / record.bandwidth_bytes_per_s)} of the bandwidth"
        for rate in read_rates(record)
    ]
    return "\n".join(
        [
            f"edge {__version__} · {record.shape}; random weights",
            _course(record),
            *(f"  {name}: {of}" for name, of in _versions(record)),
            "\ndecode, a token; then prompt to first token; ratio = other / Edge, above 1 Edge is faster",
            *rows,
            "",
            f"memory bandwidth {_rooflines(record)}",
            *found,
            *(f"left out: {reason}" for reason in record.left_out),
        ]
    )


def as_json(record: Record) -> str:
    """Every measured time."""
    rows = [
        {
            "edge": result.pair.edge.name,
            "other": result.pair.other.name,
            "decode_ratio": median(result.decode_ratios),
            "prefill_ratio": median(result.prefill_ratios),
            "decode_aim": result.pair.decode_aim,
            "prefill_aim": result.pair.prefill_aim,
            "edge_times": [asdict(times) for times in result.edge],
            "other_times": [asdict(times) for times in result.other],
            "versions": [result.pair.edge.versions, result.pair.other.versions],
        }
        for result in record.results
    ]
    reported = {
        "date": date.today().isoformat(),
        "command": record.command,
        "edge": __version__,
        "shape": str(record.shape),
        "workload": asdict(record.workload),
        "machine": asdict(record.machine),
        "rooflines": [asdict(sweep) for sweep in record.rooflines],
        "left_out": record.left_out,
        "rows": rows,
    }
    return json.dumps(reported, indent=1)


def as_page(record: Record) -> str:
    """For `docs/benchmarks.md`."""
    pairs = _table(HEADER, map(cells, record.results))
    reading = _table(
        ("contender", "a token", "decode, ms", "read", "share of bandwidth"),
        (
            [
                read_rate.runtime.name,
                show_bytes(read_rate.read_bytes),
                f"{read_rate.token_ms:.1f}",
                f"{show_bytes(read_rate.bytes_per_s)}/s",
                show_share(read_rate.bytes_per_s / record.bandwidth_bytes_per_s),
            ]
            for read_rate in read_rates(record)
        ),
    )
    versions = "\n".join(f"- {name}: {of}" for name, of in _versions(record))
    left_out = "".join(f"- {reason}\n" for reason in record.left_out) or "Nothing.\n"
    return f"""\
# Where Edge stands

Written by `make bench` on {date.today().isoformat()}, with edge {__version__}. {record.shape}; random weights.

{_course(record)}.

```sh
{record.command}
```

## Edge beside others

The first four numbers are of decoding, a token; the last four of the prompt, up to the first token.

{pairs}

{_READING}

## Beside the machine

{_BANDWIDTH} Here: {_rooflines(record)}.

{reading}

## Left out

{left_out}
## Versions

{versions}
"""


def _table(header: tuple[str, ...], rows: Iterator[list[str]] | Iterator[tuple[str, ...]]) -> str:
    aligned = ["---:" if "ms" in word else "---" for word in header]
    return "\n".join("| " + " | ".join(row) + " |" for row in (list(header), aligned, *rows))


def _course(record: Record) -> str:
    workload, machine = record.workload, record.machine
    company = "" if machine.busy is None else f" · {machine.busy:.1f} programs computing before it began"
    return (
        f"{machine.cores} cores {platform.machine().replace('_', '-')} ({machine.processor}), "
        f"{show_bytes(machine.memory_bytes)} of memory, {machine.system}, Python {machine.python} · "
        f"{workload.threads} threads · prompt of {workload.prompt} tokens · {workload.tokens} intervals · "
        f"{workload.rounds} rounds in turns, {workload.rest_s:g} s of rest before each run{company}"
    )


def _rooflines(record: Record) -> str:
    return " and ".join(f"{show_bytes(sweep.bandwidth_bytes_per_s)}/s" for sweep in record.rooflines)


def _versions(record: Record) -> Iterator[tuple[str, str]]:
    yield from record.versions.items()
    if any("mlx" in name for name in record.versions):
        yield "BLAS behind mlx, Edge's and mlx-lm's", blas_behind_mlx()
