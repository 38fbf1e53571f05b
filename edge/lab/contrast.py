"""Attention and the FFN side by side, aspect by aspect, with the numbers of this model."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isnan

from edge.lab.run import LabRecord
from edge.picture.units import show_number, show_share


@dataclass(frozen=True)
class Aspect:
    """One row: the aspect, and a text for each side."""

    name: str
    attention: str
    ffn: str


def contrast(record: LabRecord) -> tuple[Aspect, ...]:
    """The comparison of attention and FFN; a dash stands for a number that was not measured."""

    def number(key: str) -> str:
        return _shown(record.number(key), show_number)

    def share(key: str) -> str:
        return _shown(record.number(key), show_share)

    return (
        Aspect(
            "core operation",
            f"weighted sum of values: with the pattern fixed, R² {number('F1.attention_frozen_r2')}; the pattern "
            f"changes by {number('A1.pattern_shift_bits')} bits (Jensen-Shannon) between texts",
            f"non-linear map: R² of the best linear map {number('F1.ffn_linear_r2')}",
        ),
        Aspect(
            "range",
            f"across tokens: mean attention distance {number('A3.mean_distance_tokens')} tokens, "
            f"{number('A3.longest_mean_distance_tokens')} for the head with the longest",
            f"one position: a change at one token changes the output at others by {share('F2.ffn_change_elsewhere')}",
        ),
        Aspect(
            "what it learns",
            f"relations between tokens: best induction head {share('A2.best_induction')}, best previous-token head "
            f"{share('A2.best_previous_token')} of its attention",
            f"facts: indirect effect at the subject, FFN {share('F5.ffn_subject_effect')} of probability, attention "
            f"{share('F5.attention_subject_effect')}",
        ),
        Aspect(
            "output",
            f"{share('A6.routed_share')} of the residual stream after attention comes from other tokens; a layer's "
            f"attention changes the top-1 token of the logit lens at {share('S1.attention_changes_share')} of tokens",
            f"sum of a few neurons' value vectors: top-p 0.9 sparsity {share('F6.top_p_sparsity')}; a layer's FFN "
            f"changes the top-1 token at {share('S1.ffn_changes_share')} of tokens",
        ),
        Aspect(
            "parameters and time",
            f"query, key, value and output projections: {share('S3.attention_parameter_share')} of the parameters of "
            f"layers, {share('S3.attention_time_share')} of their time in decode",
            f"neurons as keys and values: {share('S3.ffn_parameter_share')} of the parameters, "
            f"{share('S3.ffn_time_share')} of the time; upper-layer agreement rate {share('F4.agreement_rate_upper')}",
        ),
        Aspect(
            "key structure",
            f"many heads: divergence of two heads of a layer {number('A5.head_divergence_bits')} bits",
            f"wide: {number('F3.expansion_ratio')} times d_model, {share('F6.exact_zero_share')} of neurons exactly 0",
        ),
    )


def _shown(value: float, show: Callable[[float], str]) -> str:
    return "–" if isnan(value) else show(value)
