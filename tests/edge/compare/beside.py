"""A comparison with llama.cpp, for which torch stands in: it gives logits, and no sites."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from edge.compare.measure import compare
from edge.compare.result import Comparison
from edge.compare.tokenized_text import TokenizedText
from edge.compare.variants import OpenVariant
from edge.session import Model
from edge.watch import Watch
from tests.edge.compare.in_process import DEEP, IDS, InProcess, checkpoint_of, members

LLAMA_CPP = "llama.cpp"


def compared_beside(*engines: str) -> Comparison:
    """The whole comparison of one model on these engines; a fault is in the weights of all but the first."""
    healthy, faulty = checkpoint_of(DEEP), checkpoint_of(DEEP, "layers.3.ffn.down.weight", by=3.0)
    stands = ["torch" if engine == LLAMA_CPP else engine for engine in engines]
    with members(list(zip([healthy, *[faulty] * len(stands[1:])], stands, strict=True))) as opened:
        return compare(
            _renamed(opened, engines), TokenizedText("ids", IDS), rounds=1, tolerance=None, progress=lambda _: None
        )


def _renamed(opened: Sequence[OpenVariant], engines: Sequence[str]) -> list[OpenVariant]:
    for member, engine in zip(opened, engines, strict=True):
        assert isinstance(member.remote, InProcess)
        if engine == LLAMA_CPP:
            _without_sites(member.remote.model)
    return [replace(member, name=engine) for member, engine in zip(opened, engines, strict=True)]


def _without_sites(model: Model) -> None:
    run = model.run

    def refusing(*arguments: Any, watch: Watch | None = None, **keywords: Any) -> Any:
        assert watch is None or not [site for site in watch.sites(model.spec) if site.name != "logits"]
        return run(*arguments, watch=watch, **keywords)

    model.engine, model.run = LLAMA_CPP, refusing  # type: ignore[method-assign]
