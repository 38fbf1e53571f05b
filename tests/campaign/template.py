"""Chat templates made up at random: pieces that real ones are built of, in any order, and some that none has."""

import json
from pathlib import Path
from random import Random

_PIECES = [json.loads(line) for line in Path(__file__).with_name("pieces.txt").read_text(encoding="utf8").splitlines()]
"""One a line, as a JSON string."""


def template(draw: Random) -> str:
    """Some pieces in a row; now and then brackets or blocks within each other."""
    if draw.random() < 0.03:
        deep = draw.choice((50, 500, 5_000))
        brackets = "{{ " + "(" * deep + "1" + ")" * deep + " }}"
        return draw.choice((brackets, "{% if 1 %}" * deep + "{% endif %}" * deep))
    return "".join(draw.choices(_PIECES, k=draw.choice((1, 2, 3, 5, 9, 30))))
