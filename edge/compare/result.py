"""The result of a comparison as frozen dataclasses, and as JSON. Units are in the names."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edge.compare.estimate import Estimate
from edge.compare.greedy_decoding import DivergentToken
from edge.compare.predictions import PredictionDifference
from edge.compare.routing import RoutingDifference
from edge.compare.sites import DivergentSite
from edge.compare.speed import Speed
from edge.profile.memory import Memory
from edge.profile.rounds import Round, Workload
from models.errors import EdgeError
from models.json_text import finite
from models.sites import layer_of

FORMAT = 3
"""Version of the record; raised if older versions of Edge cannot read new records."""

KIND = "compare"


@dataclass(frozen=True)
class TextUsed:
    """The text that variants were compared on.

    Attributes:
        source: A file name, `built in`, or `ids`.
        tokens: Tokens of the text.
        site_tokens: Tokens on which sites, heads and neurons are compared, from the first.
        prompt_tokens: Tokens of the prompt of greedy decoding, from the first.
        generated_tokens: Tokens of greedy decoding.
    """

    source: str
    tokens: int
    site_tokens: int
    prompt_tokens: int
    generated_tokens: int


@dataclass(frozen=True, kw_only=True)
class VariantResult:
    """Measurements of one variant.

    Attributes:
        name: Name in tables.
        engine: Engine, provider and precision, such as `onnx+cuda:int4`.
        versions: Versions of Edge and of the packages that ran the model.
        perplexity: Perplexity of the text, with its standard error.
        sparsity: Each measure of activation sparsity by its key, one number per layer; none without sites.
    """

    name: str
    model: str
    engine: str
    threads: int
    versions: dict[str, str]
    perplexity: Estimate
    sparsity: dict[str, tuple[float, ...]]
    speed: Speed
    memory: Memory

    @property
    def has_sites(self) -> bool:
        """Whether sites were recorded; a runtime beside the engines has none."""
        return any(self.sparsity.values())


@dataclass(frozen=True, kw_only=True)
class ComparedVariant(VariantResult):
    """One variant and its differences from the reference.

    Attributes:
        tolerance: Largest relative error of a site that counts as equal.
        sites: Relative error of each site that both have with the same shape, in the order of computation. None if
            one of them has no sites, such as llama.cpp; then there are no heads either.
        first_divergent_site: The first site over the tolerance; None if all are within it.
        first_divergent_token: The first token of greedy decoding that differs; None if all are equal.
        heads: For each layer of the reference, the mean Jensen-Shannon divergence of each head's attention pattern,
            in bits; None for a layer whose heads cannot be paired.
        routing: For each layer of the reference, how the experts of tokens differ; None for a layer that is not a
            mixture of as many experts in both. Empty if no layer is.
        router_near_tie: Whether the first site over the tolerance follows a near tie of its layer's router at the
            first token over the tolerance, where the variant chose other experts.
    """

    predictions: PredictionDifference
    tolerance: float
    sites: dict[str, float]
    first_divergent_site: DivergentSite | None
    first_divergent_token: DivergentToken | None
    heads: tuple[tuple[float, ...] | None, ...]
    routing: tuple[RoutingDifference | None, ...] = ()
    router_near_tie: bool = False

    @property
    def worst_site(self) -> str | None:
        """The site with the largest relative error, NaN counting as largest; None if no site can be compared."""
        return max(self.sites, key=lambda site: (math.isnan(self.sites[site]), self.sites[site]), default=None)

    def worst_of_layer(self, layer: int) -> float:
        """The largest relative error of a layer's sites: NaN if it has none, infinite if one is NaN."""
        errors = [error for site, error in self.sites.items() if layer_of(site) == layer]
        return max((math.inf if math.isnan(error) else error for error in errors), default=math.nan)


@dataclass(frozen=True)
class Comparison:
    """Variants beside a reference.

    Attributes:
        tolerance: The tolerance that was asked for; None where each variant has its precision's.
    """

    reference: VariantResult
    variants: tuple[ComparedVariant, ...]
    text: TextUsed
    tolerance: float | None


def to_json(comparison: Comparison) -> dict[str, Any]:
    """A comparison as JSON values; numbers that are not finite become null."""
    record = {
        "format": FORMAT,
        "kind": KIND,
        "reference": _subject_json(comparison.reference),
        "variants": [_compared_json(one) for one in comparison.variants],
        "text": asdict(comparison.text),
        "tolerance": comparison.tolerance,
    }
    plain: dict[str, Any] = finite(record)
    return plain


def from_json(record: Mapping[str, Any]) -> Comparison:
    """Reads the record that `to_json` wrote.

    Raises:
        EdgeError: the record is not a comparison, or has another format.
    """
    if record.get("kind") != KIND or record.get("format") != FORMAT:
        raise EdgeError(
            f"the record has kind {record.get('kind')!r} and format {record.get('format')!r}, not {KIND!r} and "
            f"{FORMAT}; write it again with 'edge compare ... --json'"
        )
    try:
        return Comparison(
            reference=VariantResult(**_subject_fields(record["reference"])),
            variants=tuple(_compared(one) for one in record["variants"]),
            text=TextUsed(**record["text"]),
            tolerance=record["tolerance"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise EdgeError(f"the comparison is damaged ({error!r}); run 'edge compare' again") from error


def _subject_json(one: VariantResult) -> dict[str, Any]:
    return {
        "name": one.name,
        "model": one.model,
        "engine": one.engine,
        "threads": one.threads,
        "versions": one.versions,
        "perplexity": asdict(one.perplexity),
        "sparsity": one.sparsity,
        "speed": {
            "decode_ms": one.speed.decode_ms,
            "decode_p90_ms": one.speed.decode_p90_ms,
            "prefill_ms": one.speed.prefill_ms,
            "spread": one.speed.spread,
            **asdict(one.speed),
        },
        "memory": asdict(one.memory),
    }


def _compared_json(one: ComparedVariant) -> dict[str, Any]:
    record = _subject_json(one) | {
        "predictions": asdict(one.predictions),
        "tolerance": one.tolerance,
        "sites": one.sites,
        "first_divergent_site": asdict(one.first_divergent_site) if one.first_divergent_site else None,
        "first_divergent_token": asdict(one.first_divergent_token)
        | {"is_near_tie": one.first_divergent_token.is_near_tie}
        if one.first_divergent_token
        else None,
        "heads": one.heads,
    }
    if one.routing:
        rows = [asdict(row) if row else None for row in one.routing]
        record |= {"routing": rows, "router_near_tie": one.router_near_tie}
    return record


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _numbers(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: math.nan if value is None else value for name, value in record.items()}


def _estimate(record: Mapping[str, Any]) -> Estimate:
    return Estimate(**_numbers(record))


def _row(values: list[float | None]) -> tuple[float, ...]:
    return tuple(_number(value) for value in values)


def _subject_fields(record: Mapping[str, Any]) -> dict[str, Any]:
    speed = record["speed"]
    rounds = tuple(Round(**one | {"inter_token_ms": tuple(one["inter_token_ms"])}) for one in speed["rounds"])
    return {name: record[name] for name in ("name", "model", "engine", "threads", "versions")} | {
        "perplexity": _estimate(record["perplexity"]),
        "sparsity": {key: _row(values) for key, values in record["sparsity"].items()},
        "speed": Speed(Workload(**speed["workload"]), rounds),
        "memory": Memory(**record["memory"]),
    }


def _compared(record: Mapping[str, Any]) -> ComparedVariant:
    same = dict(record["predictions"])
    difference, site, token = (
        _estimate(same.pop("perplexity_difference")),
        record["first_divergent_site"],
        record["first_divergent_token"],
    )
    return ComparedVariant(
        **_subject_fields(record),
        predictions=PredictionDifference(**_numbers(same), perplexity_difference=difference),
        tolerance=record["tolerance"],
        sites=_numbers(record["sites"]),
        first_divergent_site=DivergentSite(**site | {"relative_error": _number(site["relative_error"])})
        if site
        else None,
        first_divergent_token=DivergentToken(
            **{name: _number_of(token, name) for name in DivergentToken.__dataclass_fields__}
        )
        if token
        else None,
        heads=tuple(None if row is None else _row(row) for row in record["heads"]),
        routing=tuple(None if row is None else RoutingDifference(**row) for row in record.get("routing", ())),
        router_near_tie=record.get("router_near_tie", False),
    )


def _number_of(record: Mapping[str, Any], name: str) -> Any:
    return _number(record[name]) if name == "margin_nats" else record[name]
