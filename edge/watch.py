"""Which sites a run records, and what that costs, known before it runs."""

from dataclasses import dataclass

from models.errors import MisuseError
from models.sites import LOGITS, PARTS, Site, place_of, sites_of
from models.spec import DecoderSpec

BUDGET_BYTES = 2 * 1024**3
"""What one capture may hold unless the caller allows more."""


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What to record: parts of layers, and the logits of every token.

    Attributes:
        parts: Names of `models.sites.PARTS`, recorded in each chosen layer.
        layers: The chosen layers; None is all of them.
        logits: Record the logits of every token fed; without it only the last token's are computed.
        half: Keep values as float16: half the bytes, about three significant digits.
        budget_bytes: A capture that would hold more is refused before it starts.
    """

    parts: tuple[str, ...]
    layers: tuple[int, ...] | None = None
    logits: bool = False
    half: bool = False
    budget_bytes: int = BUDGET_BYTES

    def __post_init__(self) -> None:
        unknown = [part for part in self.parts if part not in PARTS]
        if unknown:
            raise MisuseError(f"no site part '{unknown[0]}'; a layer has {', '.join(PARTS)}")

    @classmethod
    def nothing(cls) -> "Watch":
        """Records nothing: what timed runs use."""
        return cls(parts=())

    @classmethod
    def all(cls) -> "Watch":
        """Records every site of every layer, and all logits."""
        return cls(parts=tuple(PARTS), logits=True)

    def sites(self, spec: DecoderSpec) -> tuple[Site, ...]:
        """The sites recorded of one decoder, in the order in which they are computed."""
        for layer in self.layers or ():
            if not 0 <= layer < spec.n_layers:
                raise MisuseError(f"no layer {layer} to watch; this decoder has layers 0 to {spec.n_layers - 1}")
        return tuple(site for site in sites_of(spec).values() if self._takes(site))

    def cost_bytes(self, spec: DecoderSpec, tokens: int) -> int:
        """Bytes that recording `tokens` tokens holds; sites of one place are held once."""
        sizes = {place_of(site.name): site.row_size for site in self.sites(spec)}
        return tokens * sum(sizes.values()) * (2 if self.half else 4)

    def check_budget(self, spec: DecoderSpec, tokens: int) -> None:
        """Refuses a capture that would exceed the budget; the message offers the ways out."""
        cost = self.cost_bytes(spec, tokens)
        if cost > self.budget_bytes:
            raise MisuseError(
                f"watching {len(self.sites(spec))} sites over {tokens} tokens would hold {cost / 1e6:,.0f} MB, "
                f"the budget is {self.budget_bytes / 1e6:,.0f} MB; watch fewer layers or parts, keep values in "
                "half precision (Watch(half=True)), or raise budget_bytes"
            )

    def _takes(self, site: Site) -> bool:
        if site.layer is None:
            return site.name == LOGITS and self.logits
        chosen = self.layers is None or site.layer in self.layers
        return chosen and site.name.removeprefix(f"layers.{site.layer}.") in self.parts
