"""The first token that two variants choose differently, each going on from its own."""

from dataclasses import dataclass

from edge.compare.predictions import NEAR_TIE_NATS, margins_nats
from edge.session import Model, Token


@dataclass(frozen=True)
class GreedyTokens:
    """Tokens that one variant chose one after another, and how clearly.

    Attributes:
        margins_nats: By how much each led over the second likeliest.
    """

    ids: tuple[int, ...]
    pieces: tuple[str, ...]
    margins_nats: tuple[float, ...]


@dataclass(frozen=True)
class DivergentToken:
    """The first token that a variant chooses differently.

    Attributes:
        position: Tokens generated alike before it.
        id, piece: What the variant chooses.
        reference_id, reference_piece: What the reference chooses.
        margin_nats: The reference's own lead of its choice over its second likeliest.
    """

    position: int
    id: int
    piece: str
    reference_id: int
    reference_piece: str
    margin_nats: float

    @property
    def is_near_tie(self) -> bool:
        """The reference itself hardly prefers its choice: its lead is below `NEAR_TIE_NATS`."""
        return self.margin_nats < NEAR_TIE_NATS


def generate_greedily(model: Model, prompt: tuple[int, ...], tokens: int) -> GreedyTokens:
    """The likeliest tokens after a prompt, one after another, whatever ends a text."""
    pieces: list[str] = []
    margins: list[float] = []

    def seen(token: Token) -> None:
        pieces.append(token.piece)
        margins.append(float(margins_nats(token.step.logits[-1:])[0]))

    trace = model.run(ids=list(prompt), max_new_tokens=tokens, stop_tokens=(), on_token=seen)
    return GreedyTokens(trace.generated, tuple(pieces), tuple(margins))


def first_divergent_token(chosen: GreedyTokens, reference: GreedyTokens) -> DivergentToken | None:
    """Where two part; None where they choose alike to the end."""
    for place, (own, other) in enumerate(zip(chosen.ids, reference.ids, strict=False)):
        if own != other:
            return DivergentToken(
                place, own, chosen.pieces[place], other, reference.pieces[place], reference.margins_nats[place]
            )
    return None
