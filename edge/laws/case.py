"""What a law is checked on: a loaded model, some tokens, and someone who is told of every pass."""

from collections.abc import Iterator, Sequence
from functools import cached_property

from edge.compare.sites import watches
from edge.compare.tolerances import own_tolerance
from edge.edits import Edit
from edge.engines.choice import engine_of
from edge.engines.registry import as_computed
from edge.readout import Readout, open_readout
from edge.session import Model
from edge.trace import Trace
from edge.watch import Watch
from models.progress import Progress

LONGEST = 128
"""Tokens that a law is checked on at most: it holds of every token, and more of them take longer."""

NEW_TOKENS = 6
"""Tokens that are generated where a law is of generating, so far as the context has room."""


class Case:
    """One model and some tokens.

    Attributes:
        ids: What is fed, `LONGEST` tokens at most.
        checkpoint: The model's, quantized where its engine packs.
        tolerance: Relative difference up to which two numbers of this engine are equal: what its precision explains.
    """

    def __init__(self, model: Model, ids: Sequence[int], tell: Progress = lambda _: None) -> None:
        choice, self.checkpoint = as_computed(engine_of(model.engine), model.checkpoint, tell)
        self.model, self.spec, self.tolerance = model, model.spec, own_tolerance(choice)
        self.ids, self.tell = tuple(ids[: min(LONGEST, model.spec.context)]), tell

    @cached_property
    def pieces(self) -> tuple[str, ...]:
        """Each of the tokens as a label."""
        reader = self.model.tokenizer
        return tuple(reader.piece(id) if reader else f"<{id}>" for id in self.ids)

    @cached_property
    def readout(self) -> Readout:
        """The model's final norm and unembedding, in numpy."""
        return open_readout(self.checkpoint)

    def run(self, watch: Watch, edits: Sequence[Edit] = (), new_tokens: int = 0) -> Trace:
        """One run; whoever is told may end the work there, and so before anything is made of a run that was cut."""
        ids = list(self.ids)
        trace = self.model.run(ids=ids, max_new_tokens=new_tokens, watch=watch, edits=edits, stop_tokens=())
        self.tell(f"a pass over {len(ids)} tokens")
        return trace

    def blocks(self) -> Iterator[Watch]:
        """Every site, a few layers at a time, so that a large model's are never all held."""
        return watches(self.spec, len(self.ids) + NEW_TOKENS)
