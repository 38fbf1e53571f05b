"""The race counts right: ratios, rounds, and a contender that fails."""

from pathlib import Path

import pytest

from models.families.config import Config
from models.families.llama import spec_of, weights_of
from models.parameters import parameter_shapes
from tests.bench.checkpoint import CONFIG, tensor_shapes
from tests.bench.contenders import EDGE_ONNX, GENAI, Times
from tests.bench.race import ContenderFailed, Lane, Pair, Result


def test_a_ratio_is_above_one_where_edge_takes_less_time() -> None:
    edge = [Times(100.0, (10.0, 10.0, 90.0)), Times(200.0, (20.0, 20.0, 20.0))]
    other = [Times(150.0, (20.0, 20.0, 20.0)), Times(400.0, (30.0, 30.0, 1.0))]
    result = Result(Pair(EDGE_ONNX, GENAI), edge, other)
    assert result.decode_ratios == [2.0, 1.5], "one slow token decides a round"
    assert result.prefill_ratios == [1.5, 2.0]
    assert result.decode_ms == (20.0, 20.0) and result.prefill_ms == (150.0, 275.0)


def test_the_tensors_written_are_those_the_config_promises() -> None:
    spec = spec_of(Config(Path("config.json"), dict(CONFIG)))
    written = tensor_shapes(
        spec.vocab_size, spec.d_model, spec.layers[0].ffn.d_ff, spec.n_kv_heads * spec.head_dim, spec.n_layers
    )
    tensors = {name: stored.tensor for name, stored in weights_of(spec).items()}
    wanted = {tensors[name]: shape for name, shape in parameter_shapes(spec).items()}
    assert written == wanted


def test_a_contender_that_cannot_open_says_why(tmp_path: Path) -> None:
    lane = Lane(EDGE_ONNX.name, tmp_path / "nothing", threads=1)
    try:
        with pytest.raises(ContenderFailed, match=r"edge onnx: .*nothing"):
            lane.receive()
    finally:
        lane.close()
