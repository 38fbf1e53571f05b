"""Tick values for the axis of a plot."""

import math


def ticks(low: float, high: float, steps: int = 4) -> list[float]:
    """Multiples of a step of 1, 2 or 5 times a power of ten that enclose `low` and `high`.

    The step is the smallest that divides the range into at most `steps` intervals.
    """
    if high - low < 1e-300:
        low, high = 0.0, 1.0
    rough = (high - low) / steps
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= 0.999 * rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [place * step for place in range(first, last + 1)]
