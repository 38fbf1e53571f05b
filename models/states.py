"""All states of a decoder by name, and their shapes."""

from functools import lru_cache
from types import MappingProxyType

from models.spec import DecoderSpec
from models.sublayers.states import Growing, State, fixed_shape, numbers_of


@lru_cache(maxsize=8)
def states_of(spec: DecoderSpec) -> MappingProxyType[str, State]:
    """Every state in order of computation. `3.key` is the state `key` of layer 3."""
    return MappingProxyType(
        {
            f"{layer}.{name}": state
            for layer, kind in enumerate(spec.layers)
            for name, state in kind.mixer.states().items()
        }
    )


def state_shape(state: State, capacity: int) -> tuple[int, ...]:
    """The shape of a state for one text, with room for `capacity` tokens if it grows."""
    return (1, state.heads, capacity, state.features) if isinstance(state, Growing) else fixed_shape(state)


def state_numbers(spec: DecoderSpec, tokens: int) -> int:
    """Numbers of all states after `tokens` tokens."""
    return sum(numbers_of(state, tokens) for state in states_of(spec).values())
