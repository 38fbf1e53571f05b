"""The states of all mixers while a decoder is traced: keys, values and others, before and after the pass."""

from jaxtyping import Float
from torch import Tensor

from models.spec import DecoderSpec

Buffer = Float[Tensor, "batch kv_head past head_dim"]
Past = list[tuple[Tensor, ...]]
"""The states of each layer, in the order in which its mixer lists them."""


class States:
    """The states of every layer before and after the traced pass."""

    def __init__(self, spec: DecoderSpec, past: Past) -> None:
        self._names = [list(layer.mixer.states()) for layer in spec.layers]
        self._before = [dict(zip(names, values, strict=True)) for names, values in zip(self._names, past, strict=True)]
        self._after: list[dict[str, Tensor]] = [{} for _ in spec.layers]

    def before(self, layer: int, name: str) -> Tensor:
        """A state of one layer before the pass."""
        return self._before[layer][name]

    def keep(self, layer: int, **values: Tensor) -> None:
        """Sets states of one layer after the pass."""
        self._after[layer] |= values

    @property
    def present(self) -> Past:
        """All states after the pass."""
        return [tuple(after[name] for name in names) for names, after in zip(self._names, self._after, strict=True)]
