"""Which sites a run records, and the memory this needs, computed before the run."""

from dataclasses import dataclass

from models.errors import MisuseError
from models.sites import LOGITS, Site, parts_of, place_of, sites_of
from models.spec import DecoderSpec

BUDGET_BYTES = 2 * 1024**3
"""Default limit of the memory for recorded values."""


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What to record: parts of layers, and the logits of every token.

    Attributes:
        parts: Names of `models.sites.parts_of`, recorded in each chosen layer that has them; None means every site.
        layers: The chosen layers; None means all.
        logits: Record the logits of every fed token; otherwise only those of the last token are computed.
        half: Store float16: half the bytes, about three significant digits.
        budget_bytes: Memory limit; a run that needs more is refused before it starts.
    """

    parts: tuple[str, ...] | None
    layers: tuple[int, ...] | None = None
    logits: bool = False
    half: bool = False
    budget_bytes: int = BUDGET_BYTES

    @classmethod
    def nothing(cls) -> "Watch":
        """Records nothing; used by timed runs."""
        return cls(parts=())

    @classmethod
    def all(cls) -> "Watch":
        """Records every site of every layer, and all logits."""
        return cls(parts=None, logits=True)

    def sites(self, spec: DecoderSpec) -> tuple[Site, ...]:
        """The recorded sites of one decoder, in order of computation.

        Raises:
            MisuseError: the decoder has no such part or layer.
        """
        for layer in self.layers or ():
            if not 0 <= layer < spec.n_layers:
                raise MisuseError(f"no layer {layer} to watch; this decoder has layers 0 to {spec.n_layers - 1}")
        unknown = [part for part in self.parts or () if part not in parts_of(spec)]
        if unknown:
            raise MisuseError(
                f"no site part '{unknown[0]}'; the layers of this decoder have {', '.join(parts_of(spec))}"
            )
        return tuple(site for site in sites_of(spec).values() if self._takes(site))

    def cost_bytes(self, spec: DecoderSpec, tokens: int) -> int:
        """Bytes needed to record `tokens` tokens; sites of one place are stored once."""
        sizes = {place_of(site.name): site.row_size for site in self.sites(spec)}
        return tokens * sum(sizes.values()) * (2 if self.half else 4)

    def check_budget(self, spec: DecoderSpec, tokens: int) -> None:
        """Raises MisuseError if recording would exceed the budget; the message says what to change."""
        cost = self.cost_bytes(spec, tokens)
        if cost > self.budget_bytes:
            raise MisuseError(
                f"watching {len(self.sites(spec))} sites over {tokens} tokens needs {cost / 1e6:,.0f} MB, "
                f"the budget is {self.budget_bytes / 1e6:,.0f} MB; watch fewer layers or parts, store half precision "
                "(Watch(half=True)), or raise budget_bytes"
            )

    def _takes(self, site: Site) -> bool:
        if site.layer is None:
            return site.name == LOGITS and self.logits
        chosen = self.layers is None or site.layer in self.layers
        return chosen and (self.parts is None or site.name.removeprefix(f"layers.{site.layer}.") in self.parts)
