"""Attention beside the FFN, aspect by aspect, each cell with what was measured on this model."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isnan

from edge.lab.run import LabRecord
from edge.picture.units import show_number, show_share


@dataclass(frozen=True)
class Aspect:
    """One row: what is compared, and the two sides in words."""

    name: str
    attention: str
    ffn: str


def contrast(record: LabRecord) -> tuple[Aspect, ...]:
    """The summary that ends a lab; a dash stands for what was not measured."""

    def number(key: str) -> str:
        return _shown(record.number(key), show_number)

    def share(key: str) -> str:
        return _shown(record.number(key), show_share)

    return (
        Aspect(
            "core operation",
            f"a weighted sum of values: its own weights explain {share('F1.attention_frozen_r2')} of what it writes; "
            f"the weights move by {number('A1.pattern_shift_bits')} bits with the input",
            f"a non-linear map: the best linear one explains {share('F1.ffn_linear_r2')} of what it writes",
        ),
        Aspect(
            "range",
            f"across tokens: {number('A3.mean_distance_tokens')} tokens back on average, "
            f"{number('A3.longest_mean_distance_tokens')} for the furthest head",
            f"its own position: changing a token moves what it writes at others by {share('F2.ffn_change_elsewhere')}",
        ),
        Aspect(
            "what it learns",
            f"relations: the best head looks {share('A2.best_induction')} at what followed the same token, "
            f"another {share('A2.best_previous_token')} at the token before",
            f"facts: restored at the subject, FFNs give back {share('F5.ffn_subject_effect')} of probability, "
            f"attention {share('F5.attention_subject_effect')}",
        ),
        Aspect(
            "output",
            f"{share('A6.routed_share')} of it comes from other tokens; it changes the likeliest next token on "
            f"{share('S1.attention_changes_share')} of sublayers",
            f"a few neurons' vectors added up: {share('F6.top_p_sparsity')} of neurons can be left out; it changes the "
            f"likeliest next token on {share('S1.ffn_changes_share')}",
        ),
        Aspect(
            "role of its parameters",
            f"where to look and what to carry: {share('S3.attention_parameter_share')} of the layers' parameters, "
            f"{share('S3.attention_time_share')} of their time",
            f"keys and values of a memory: {share('S3.ffn_parameter_share')} of the parameters, "
            f"{share('S3.ffn_time_share')} of the time; agreement {share('F4.agreement_rate_upper')}",
        ),
        Aspect(
            "key structure",
            f"many heads: two of a layer look {number('A5.head_divergence_bits')} bits apart",
            f"wide: {number('F3.expansion_ratio')} times d_model, {share('F6.exact_zero_share')} of it exactly 0",
        ),
    )


def _shown(value: float, show: Callable[[float], str]) -> str:
    return "–" if isnan(value) else show(value)
