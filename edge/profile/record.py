"""The result of `edge profile` with all samples, as dataclasses and as a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.dataclass_json import open_record, to_json_value
from edge.profile.machine import Machine, Roofline
from edge.profile.memory import Memory
from edge.profile.rounds import Round, Workload
from edge.profile.sparsity_savings import SparsityProfile
from edge.timing import PassTimes
from models.sublayers.work import Work

FORMAT = 2
"""Version of the record; raised if older versions of Edge cannot read new records."""

KIND = "profile"


@dataclass(frozen=True, kw_only=True)
class PassProfile:
    """Times of passes of one kind, and the work of each part."""

    times: PassTimes
    work: dict[str, Work]


@dataclass(frozen=True, kw_only=True)
class FirstToken:
    """Time to first token of one text prompt.

    Attributes:
        tokenize_ms: Text to ids, in milliseconds.
        ttft_ms: From the request to the first generated token, tokenization included, in milliseconds.
    """

    prompt_tokens: int
    tokenize_ms: float
    ttft_ms: float


@dataclass(frozen=True, kw_only=True)
class DepthProfile:
    """Measurements at one depth: end-to-end rounds, then instrumented passes of a decode step and a prompt.

    A runtime beside the engines, such as llama.cpp, has no such passes.
    """

    workload: Workload
    rounds: tuple[Round, ...]
    passes: tuple[PassProfile, ...]


@dataclass(frozen=True, kw_only=True)
class VariantProfile:
    """One engine and precision.

    Attributes:
        method: How parts were timed, in a few words.
        estimated_peak_bytes: Process peak estimated before the run.
        first_tokens: One per round; empty for a model without a tokenizer.
    """

    engine: str
    threads: int
    versions: dict[str, str]
    method: str
    memory: Memory
    estimated_peak_bytes: int
    first_tokens: tuple[FirstToken, ...]
    depths: tuple[DepthProfile, ...]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One run of `edge profile`.

    Attributes:
        when: Date and time, ISO 8601, UTC.
        parameters: Number of parameters; tied ones count once.
        interleaved: Whether rounds of all variants were interleaved; otherwise they ran one after another.
        warm_up: The warm-up before the first sample, in a few words.
        rooflines: Of the machine, before, between and after.
        sparsity: What skipping inactive neurons would save; None if it was not requested.
    """

    edge: str
    when: str
    model: str
    n_layers: int
    parameters: int
    interleaved: bool
    warm_up: str
    machine: Machine
    rooflines: tuple[Roofline, ...]
    variants: tuple[VariantProfile, ...]
    sparsity: SparsityProfile | None


def profile_record(profile: Profile) -> dict[str, Any]:
    """The profile as JSON values."""
    return {"format": FORMAT, "kind": KIND, "profile": to_json_value(profile)}


def open_profile(path: str | Path) -> Profile:
    """Reads a file that `edge profile --json` wrote.

    Raises:
        EdgeError: the file does not exist, or is not a profile.
    """
    return open_record(Path(path), Profile, "profile", KIND, FORMAT)
