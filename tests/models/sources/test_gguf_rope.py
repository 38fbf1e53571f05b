"""The scaling of rotary positions in GGUF files, as llama.cpp reads it."""

import math

import pytest

from models.spec import DecoderSpec, LinearScaling, ListedScaling, NoScaling, Rotary, Scaling, YarnScaling
from tests.models.sources.test_gguf_config import Smalls, spec_with


def scalings(spec: DecoderSpec) -> list[Scaling]:
    positions = [layer.attention.position for layer in spec.layers]
    return [position.scaling for position in positions if isinstance(position, Rotary)]


def test_a_factor_without_a_type_is_linear(small: Smalls) -> None:
    """Also by its old name; 0 and 1 are none."""
    llama = small("llama")
    four = [LinearScaling(4.0)] * 2
    assert scalings(spec_with(llama, rope__scaling__factor=4.0)) == four
    assert scalings(spec_with(llama, rope__scale_linear=4.0)) == four
    for none in (0.0, 1.0):
        assert scalings(spec_with(llama, rope__scaling__factor=none)) == [NoScaling()] * 2
    assert scalings(spec_with(llama, rope__scaling__factor=4.0, rope__scaling__type="none")) == [NoScaling()] * 2


def test_a_factor_applies_to_divisors_too(small: Smalls) -> None:
    """The scaling of Llama 3.1, with all angles divided once more."""
    plain, twice = (
        scalings(spec_with(small("llama-llama3-scaling"), rope__scaling__factor=factor))[0] for factor in (1.0, 2.0)
    )
    assert isinstance(plain, ListedScaling) and isinstance(twice, ListedScaling)
    assert twice.factors == tuple(2 * factor for factor in plain.factors)


def test_yarn_has_the_context_of_the_model_where_none_is_stated(small: Smalls) -> None:
    scaled = small("llama-yarn-scaling-own-amplitude")
    (first, _) = scalings(spec_with(scaled, rope__scaling__original_context_length=None))
    assert isinstance(first, YarnScaling) and first.original == 64


def test_amplitudes_of_yarn_are_those_of_llama_cpp(small: Smalls) -> None:
    """`attn_factor` multiplies YaRN's own, except in files of OLMo 3, where the converter writes the config's."""
    own = 1 + 0.1 * math.log(4)

    def amplitude(name: str, **named: object) -> float:
        stated = {"rope__scaling__yarn_attn_factor": None} | named
        found = scalings(spec_with(small(name), **stated))[0]
        assert isinstance(found, YarnScaling)
        return found.amplitude

    yarn = "llama-yarn-scaling-own-amplitude"
    assert amplitude(yarn) == pytest.approx(own)
    assert amplitude(yarn, rope__scaling__attn_factor=1.0) == pytest.approx(own)
    assert amplitude(yarn, rope__scaling__attn_factor=1.25) == pytest.approx(1.25 * own)
    assert amplitude(yarn, rope__scaling__yarn_log_multiplier=1.0) == pytest.approx(1.0)
    both = {"rope__scaling__yarn_log_multiplier": 0.5, "rope__scaling__attn_factor": 2.0}
    assert amplitude(yarn, **both) == pytest.approx(2 * own / (1 + 0.05 * math.log(4)))
    assert amplitude("olmo3-yarn-two-bases", rope__scaling__attn_factor=1.25) == pytest.approx(1.25)
