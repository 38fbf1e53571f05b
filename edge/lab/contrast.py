"""A comparison of attention and the FFN, aspect by aspect, with the numbers of this model."""

from dataclasses import dataclass, replace

from edge.lab.run import LabRecord
from edge.picture.units import show_measured, show_with_unit


@dataclass(frozen=True)
class Aspect:
    """One aspect, with a text for attention and a text for the FFN."""

    name: str
    attention: str
    ffn: str


@dataclass(frozen=True)
class _Measured:
    """The numbers of a record as text; a dash where one was not measured."""

    record: LabRecord

    def number(self, key: str) -> str:
        return show_measured(self.record.number(key), "ratio")

    def share(self, key: str) -> str:
        return show_measured(self.record.number(key), "share")

    def points(self, key: str) -> str:
        return show_with_unit(self.record.number(key), "share_difference")


def contrast(record: LabRecord) -> tuple[Aspect, ...]:
    """The comparison of attention and FFN; a dash stands for a number that was not measured."""
    return (*_computed(_Measured(record)), *_built(_Measured(record)))


def _computed(of: _Measured) -> tuple[Aspect, ...]:
    """What they compute."""
    return (
        Aspect(
            "core operation",
            f"weighted sum of values: linear if its pattern is fixed (R² {of.number('F1.attention_frozen_r2')}); the "
            f"pattern differs by {of.number('A1.pattern_shift_bits')} bits (Jensen-Shannon) between texts",
            f"non-linear map: the best linear map predicts its output with R² {of.number('F1.ffn_linear_r2')}",
        ),
        Aspect(
            "range",
            f"across tokens: mean attention distance {of.number('A3.mean_distance_tokens')} tokens, "
            f"{of.number('A3.longest_mean_distance_tokens')} tokens for the head with the largest",
            "one position: a change at one token changes the output at other tokens by "
            f"{of.share('F2.ffn_change_elsewhere')}",
        ),
        Aspect(
            "what it learns",
            f"relations between tokens: the best induction head puts {of.share('A2.best_induction')} of its attention "
            f"on its target, the best previous-token head {of.share('A2.best_previous_token')}",
            "facts: with noise on the subject, clean FFN outputs at its tokens restore "
            f"{of.points('F5.ffn_subject_effect')} of the answer's probability, clean attention outputs "
            f"{of.points('F5.attention_subject_effect')}",
        ),
        Aspect(
            "output",
            f"{of.share('A6.routed_share')} of the residual stream after attention comes from other tokens; a "
            f"layer's attention changes the top-1 token of the logit lens at "
            f"{of.share('S1.attention_changes_share')} of tokens",
            f"sum of the value vectors of a few neurons: top-p 0.9 sparsity {of.share('F6.top_p_sparsity')}; a layer's "
            f"FFN changes the top-1 token of the logit lens at {of.share('S1.ffn_changes_share')} of tokens",
        ),
    )


def _built(of: _Measured) -> tuple[Aspect, ...]:
    """How they are built."""
    return (
        Aspect(
            "parameters and time",
            f"query, key, value and output projections: {of.share('S3.attention_parameter_share')} of the layers' "
            f"parameters, {of.share('S3.attention_time_share')} of the layers' time in a decode step",
            f"neurons as keys and values: {of.share('S3.ffn_parameter_share')} of the parameters, "
            f"{of.share('S3.ffn_time_share')} of the time; agreement rate of upper-layer neurons "
            f"{of.share('F4.agreement_rate_upper')}",
        ),
        Aspect(
            "key structure",
            f"many heads: two heads of a layer differ by {of.number('A5.head_divergence_bits')} bits (Jensen-Shannon)",
            f"wide: d_ff is {of.number('F3.expansion_ratio')} times d_model, {of.share('F6.exact_zero_share')} of "
            "neurons are exactly 0",
        ),
    )


def measured_aspects(record: LabRecord) -> tuple[Aspect, ...]:
    """The aspects of `contrast` with at least one number; a test of a few claims leaves most of them empty."""
    empty = contrast(replace(record, results=()))
    return tuple(aspect for aspect, without in zip(contrast(record), empty, strict=True) if aspect != without)
