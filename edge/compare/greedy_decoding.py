"""Greedy decoding of two variants, and the first token that differs."""

from dataclasses import dataclass

from edge.compare.predictions import NEAR_TIE_NATS, margins_nats
from edge.session import Model, Token


@dataclass(frozen=True)
class GreedyTokens:
    """Tokens that one variant generated greedily, and their margins.

    Attributes:
        margins_nats: Log-probability of each token minus that of the second most probable one.
    """

    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    margins_nats: tuple[float, ...]


@dataclass(frozen=True)
class DivergentToken:
    """The first token of greedy decoding that differs from the reference's.

    Attributes:
        position: Equal tokens generated before it.
        id, piece: The variant's token.
        reference_id, reference_piece: The reference's token.
        margin_nats: The reference's margin there, between its two most probable tokens.
    """

    position: int
    id: int
    piece: str
    reference_id: int
    reference_piece: str
    margin_nats: float

    @property
    def is_near_tie(self) -> bool:
        """Whether the reference's margin is below `NEAR_TIE_NATS`."""
        return self.margin_nats < NEAR_TIE_NATS


def generate_greedily(model: Model, prompt: tuple[int, ...], tokens: int) -> GreedyTokens:
    """Greedy decoding of `tokens` tokens after a prompt; stop tokens do not end it."""
    pieces: list[str] = []
    margins: list[float] = []

    def record(token: Token) -> None:
        pieces.append(token.piece)
        margins.append(float(margins_nats(token.step.logits[-1:])[0]))

    trace = model.run(ids=list(prompt), max_new_tokens=tokens, stop_tokens=(), on_token=record)
    return GreedyTokens(trace.generated, tuple(pieces), tuple(margins))


def first_divergent_token(chosen: GreedyTokens, reference: GreedyTokens) -> DivergentToken | None:
    """The first difference; None if all tokens are equal."""
    for place, (own, other) in enumerate(zip(chosen.ids, reference.ids, strict=False)):
        if own != other:
            return DivergentToken(
                place, own, chosen.pieces[place], other, reference.pieces[place], reference.margins_nats[place]
            )
    return None
