"""What the other benches compute from what they measure: a layer's time, and a forecast read from a dry run."""

from pathlib import Path

import pytest

from edge.cli import exit_code
from export.layout import DENSE
from export.standalone import peak_bytes
from models.checkpoint import open_checkpoint
from tests.bench.big_export import forecast_of
from tests.bench.layers import Layer, middle_layer_ms


def test_a_layer_is_its_two_sublayers_and_those_at_the_ends_do_not_count() -> None:
    parts_ns = {"embed": 9e9, "layers.0.attn": 9e9, "layers.0.ffn": 9e9, "layers.3.attn": 9e9, "layers.3.ffn": 9e9}
    parts_ns |= {"layers.1.attn": 1e6, "layers.1.ffn": 2e6, "layers.2.attn": 3e6, "layers.2.ffn": 4e6, "head": 9e9}
    assert middle_layer_ms(parts_ns, layers=4) == pytest.approx(5.0)


def test_two_ways_to_time_a_layer_are_compared_by_their_medians() -> None:
    layer = Layer(by_difference_ms=(2.0, 2.0, 90.0), by_parts_ms=(1.0, 1.8, 1.9))
    assert layer.difference == pytest.approx(-0.1)


def test_the_forecast_is_read_from_what_a_dry_run_says(
    byte_llama: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(["export", str(byte_llama), str(tmp_path / "out"), "--dry-run"]) == 0
    forecast = forecast_of(capfd.readouterr().err)
    assert forecast == pytest.approx(peak_bytes(open_checkpoint(byte_llama), DENSE), rel=0.01)
