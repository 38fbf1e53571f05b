"""What `edge profile` found, every raw sample of it, as data and as a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.dataclass_json import open_record, to_json_value
from edge.profile.machine import Machine, Roofline
from edge.profile.memory import Memory
from edge.profile.rounds import Round, Workload
from edge.profile.sparsity_savings import SparsityProfile
from edge.profile.work import Work
from edge.timing import PassTimes

FORMAT = 2
"""Rises when a profile written today could not be read by yesterday's Edge."""

KIND = "profile"


@dataclass(frozen=True, kw_only=True)
class PassProfile:
    """Passes of one kind, and the work of each part in one of them."""

    times: PassTimes
    work: dict[str, Work]


@dataclass(frozen=True, kw_only=True)
class FirstToken:
    """One prompt of text, from its characters to the first token after it.

    Attributes:
        tokenize_ms: Text to ids.
        ttft_ms: Request to first generated token, tokenization included.
    """

    prompt_tokens: int
    tokenize_ms: float
    ttft_ms: float


@dataclass(frozen=True, kw_only=True)
class DepthProfile:
    """All that was measured at one depth: rounds from end to end, then a decode step and a prompt from inside."""

    workload: Workload
    rounds: tuple[Round, ...]
    passes: tuple[PassProfile, ...]


@dataclass(frozen=True, kw_only=True)
class VariantProfile:
    """One engine and precision.

    Attributes:
        method: How its parts were measured, in a few words.
        estimated_peak_bytes: Process peak that was foreseen before it ran.
        first_tokens: One a round; empty for a model without a tokenizer.
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
        parameters: Numbers in the model; tied ones count once.
        interleaved: All variants were open at once and ran round by round in turns; otherwise one after another.
        warm_up: What ran before the first sample, in a few words.
        rooflines: Of the machine, before, between and after.
        sparsity: What silent neurons would save; None where it was not asked for.
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
    """The profile as `json` writes it."""
    return {"format": FORMAT, "kind": KIND, "profile": to_json_value(profile)}


def open_profile(path: str | Path) -> Profile:
    """Reads a file that `edge profile --json` wrote.

    Raises:
        EdgeError: there is none, or it holds something else; the message says what.
    """
    return open_record(Path(path), Profile, "profile", KIND, FORMAT)
