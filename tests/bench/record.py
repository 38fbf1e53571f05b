"""The results of one run of the benchmark, as text, as JSON, and as the page `docs/benchmarks.md`."""

import json
import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from statistics import median
from typing import Any

from edge import __version__
from edge.engines.blas import blas_behind_mlx
from edge.picture.units import show_bytes, show_share
from edge.profile.machine import Machine, Roofline
from tests.bench.checkpoint import Shape
from tests.bench.pairs import Result, Workload
from tests.bench.runtimes import Runtime

_READING = """\
Decode: median inter-token latency. Time to first token: median time from token ids to the first generated token,
tokenization not included. A ratio is the time of the other runtime divided by Edge's time in the same round; above 1,
Edge is faster. It is the median over rounds, with the lowest and the highest in brackets. A target is the ratio that
Edge should reach; not every row has one.

*Matrix products only* computes the matrix products of the model and nothing else, a lower bound for every runtime.
*At depth 1,700*: 1,700 tokens precede the prompt. *Recorded*: Edge records values inside the model during the run.
*genai*: onnxruntime-genai.

Each runtime runs in a separate process, which is started again for every round, since the speed of one process can
differ by 10% from that of the next. The two runtimes of a row are interleaved: both run in every round, and their order
alternates. Before the timed run there is a short warm-up run and a pause. All runtimes have the same random weights,
decode greedily, and get token ids, so tokenization is not timed. llama.cpp has keys and values in float16, its default;
all others have them in float32. llama.cpp's Q4_0 has every matrix in 4 bits, including the tied embedding, as Edge's
int4 has."""

_MIXTURE = """\
*8 experts*: the same with 8 experts a layer, of which a token uses as many. A token reads the chosen experts only, so
its time should not depend on the number of experts. mlx-lm's 4 bits have the groups of Edge's int4; routers are in
float32 in both."""

_GGUF = """\
*Q4_0*: GGUF files in which every matrix has 4 bits in groups of 32 with a scale, like Edge's int4-sym; *Q4_1* and
*Q4_K* have an offset for each group as well. Edge multiplies sums of the input with the offsets, in float32: it then
reads 28 bytes for 32 weights where it reads 24 without offsets."""

_BANDWIDTH = """\
Decoding one token reads every weight once, so memory bandwidth limits tokens per second. The bandwidth of this machine
was measured with the same number of threads before and after the runs; shares are of the higher result. Bytes are those
of the weights, without keys and values."""


@dataclass(frozen=True)
class Record:
    """One run.

    Attributes:
        command: The command that repeats the run.
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
        """The package versions of each runtime, by its name."""
        sides = [side for result in self.results for side in (result.pair.edge, result.pair.other)]
        return {side.name: side.versions for side in sides}


@dataclass(frozen=True)
class ReadRate:
    """The rate at which one runtime reads weights while it decodes, from its median interval over all pairs."""

    runtime: Runtime
    read_bytes: int
    token_ms: float

    @property
    def bytes_per_s(self) -> float:
        return 1e3 * self.read_bytes / self.token_ms


def read_rates(record: Record) -> list[ReadRate]:
    """Read rates of the runtimes whose bytes per token are known, the fastest first."""
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
    """A median ratio with its range, and whether the target was reached."""
    middle = median(ratios)
    verdict = "" if aim is None else f"{aim:.2f} {'reached' if middle >= aim else 'missed'}"
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


HEADER = ("Edge", "other runtime", *("Edge, ms", "other, ms", "ratio", "target") * 2)
PAGE_HEADER = (
    "Edge",
    "other runtime",
    *("decode: Edge, ms per token", "other, ms per token", "ratio", "target"),
    *("time to first token: Edge, ms", "other, ms", "ratio", "target"),
)


def line(words: list[str]) -> str:
    """One row of the table as text."""
    widths = (36, 26, *(9, 9, 19, 13) * 2)
    columns = zip(words, widths, HEADER, strict=True)
    return " ".join(f"{word:{'>' if 'ms' in head else '<'}{width}}" for word, width, head in columns).rstrip()


def as_text(record: Record) -> str:
    """One model, for a terminal."""
    rows = [line(list(HEADER)), *(line(cells(result)) for result in record.results)]
    found = [
        f"{rate.runtime.name:36} {show_bytes(rate.read_bytes):>8} per token, {show_bytes(rate.bytes_per_s):>8}/s,"
        f" {show_share(rate.bytes_per_s / record.bandwidth_bytes_per_s)} of the bandwidth"
        for rate in read_rates(record)
    ]
    return "\n".join(
        [
            f"edge {__version__} · {record.shape}; random weights",
            _conditions(record),
            *(f"  {name}: {of}" for name, of in _versions(record.versions)),
            "\ndecode, per token; then time to first token; ratio = other / Edge, above 1 Edge is faster",
            *rows,
            "",
            f"memory bandwidth {_rooflines(record)}",
            *found,
            *(f"did not run: {reason}" for reason in record.left_out),
        ]
    )


def as_json(records: Sequence[Record]) -> str:
    """Every measured time, by the name of the model."""
    return json.dumps({record.shape.name: _table_of(record) for record in records}, indent=1)


def _table_of(record: Record) -> dict[str, Any]:
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
    return {
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


def as_page(record: Record, files: Record | None = None, mixture: Record | None = None) -> str:
    """For `docs/benchmarks.md`: the Llama, GGUF files of a larger one, and a mixture of experts."""
    pairs, reading = _table(PAGE_HEADER, map(cells, record.results)), _read_table(record)
    titled = (("GGUF files at the size that people run", _GGUF, files), ("A mixture of experts", _MIXTURE, mixture))
    others = [other for other in (files, mixture) if other]
    sections = "".join(_section(title, text, other) for title, text, other in titled if other)
    known = {name: of for one in (record, *others) for name, of in one.versions.items()}
    versions = "\n".join(f"- {name}: {of}" for name, of in _versions(known))
    left_out = [reason for one in (record, *others) for reason in one.left_out]
    return f"""\
# Speed compared with other runtimes

Written by `make bench` on {date.today().isoformat()}, with edge {__version__}. {record.shape}; random weights.

{_conditions(record)}.

```sh
{record.command}
```

## Edge and other runtimes

{pairs}

{_READING}

## Memory bandwidth

{_BANDWIDTH} Measured: {_rooflines(record)}.

{reading}

{sections}## Pairs that did not run

{"".join(f"- {reason}" + chr(10) for reason in left_out) or "None." + chr(10)}
## Versions

{versions}
"""


def _section(title: str, text: str, record: Record) -> str:
    return f"""\
## {title}

{record.shape}; random weights. {text}

{_conditions(record)}.

{_table(PAGE_HEADER, map(cells, record.results))}

{_read_table(record)}

"""


def _read_table(record: Record) -> str:
    """The rate at which each runtime reads weights."""
    return _table(
        ("runtime", "weights per token", "decode, ms per token", "read rate", "share of bandwidth"),
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


def _table(header: tuple[str, ...], rows: Iterator[list[str]] | Iterator[tuple[str, ...]]) -> str:
    aligned = ["---:" if "ms" in word else "---" for word in header]
    return "\n".join("| " + " | ".join(row) + " |" for row in (list(header), aligned, *rows))


def _conditions(record: Record) -> str:
    workload, machine = record.workload, record.machine
    load = "" if machine.busy is None else f" · load average {machine.busy:.1f} (1 minute) before the start"
    return (
        f"{machine.cores} {platform.machine().replace('_', '-')} cores ({machine.processor}), "
        f"{show_bytes(machine.memory_bytes)} of memory, {machine.system}, Python {machine.python} · "
        f"{workload.threads} threads · prompt of {workload.prompt} tokens · {workload.tokens} inter-token intervals · "
        f"{workload.rounds} interleaved rounds, {workload.rest_s:g} s pause before each run{load}"
    )


def _rooflines(record: Record) -> str:
    return " and ".join(f"{show_bytes(sweep.bandwidth_bytes_per_s)}/s" for sweep in record.rooflines)


def _versions(versions: dict[str, str]) -> Iterator[tuple[str, str]]:
    yield from versions.items()
    if any("mlx" in name for name in versions):
        yield "BLAS of mlx, for Edge and mlx-lm", blas_behind_mlx()
