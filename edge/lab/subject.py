"""The model that experiments are made on: what it read, what was seen of it, and what it answers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float32, Float64

from edge.compare.estimate import token_losses_nats
from edge.compare.tokenized_text import Window, windows
from edge.edits import Edit
from edge.lab.passes import Ask, logits_after, starts
from edge.lab.prompts import SEED, Question, questions, reading
from edge.readout import Readout, open_readout
from edge.repeated_tokens import repeated_tokens
from edge.session import Model
from edge.trace import Trace
from edge.watch import Watch
from models.errors import MisuseError
from models.other_formats import without_tokenizer
from models.progress import Progress
from models.sites import PARTS, layer_site
from models.spec import DecoderSpec
from models.tokenizer import Tokenizer

PASSAGE_TOKENS = 2_048
"""Tokens of text that are read, unless the caller says otherwise or they would hold more than `HELD_BYTES`."""

HELD_BYTES = 10**9
"""What the traces of the passage may hold."""

WINDOW_TOKENS = 256
"""Tokens of one pass over the passage at most; each begins with nothing known."""

KNOWN_QUESTIONS = 24
"""Facts that the model knows, taken from the first questions that it answers rightly."""

T = TypeVar("T")


@dataclass(frozen=True)
class Known:
    """A question that the model answers rightly: the likeliest token after the prompt begins the answer.

    Attributes:
        ids: The prompt.
        subject: Positions of the subject's tokens in it.
        answer: The answer's first token.
        probability: Of that token.
    """

    question: Question
    ids: tuple[int, ...]
    subject: tuple[int, ...]
    answer: int
    probability: float


class Subject:
    """A loaded model and the text it is tried on; what several experiments need is computed once.

    Attributes:
        passage: Tokens of the text.
        source: Where the text is from.
        asked: Facts that it may know; capitals where the caller gives none.
        fed: Tokens fed so far, timings apart.
        tell: Called with what is being done.
        check: Called around each pass and before what was seen is read again; what it raises ends an experiment there.
    """

    def __init__(
        self,
        model: Model,
        *,
        text: str | None = None,
        source: str = "built in",
        tokens: int | None = None,
        asked: Sequence[Question] | None = None,
        progress: Progress = lambda _: None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        if model.tokenizer is None:
            raise MisuseError(f"the texts of the lab cannot be read: {without_tokenizer(model.checkpoint.folder)}")
        self.model, self.spec, self.tell, self.check, self.source = model, model.spec, progress, check, source
        self.asked = tuple(questions()) if asked is None else tuple(asked)
        self.tokenizer: Tokenizer = model.tokenizer
        self.fed = 0
        self._once: dict[Callable[..., Any], Any] = {}
        ids = self.tokenizer.encode(reading() if text is None else text)
        self.passage = tuple(ids[: tokens or most_tokens(model.spec)])
        if len(self.passage) < 3:
            raise MisuseError(f"the text has {len(self.passage)} tokens; the lab needs a text of some length")

    @cached_property
    def readout(self) -> Readout:
        """The model's final norm and unembedding, in numpy."""
        return open_readout(self.model.checkpoint)

    @cached_property
    def begin(self) -> tuple[int, ...]:
        """The tokens that begin every text."""
        return tuple(self.tokenizer.encode(""))

    @cached_property
    def passes(self) -> tuple[Window, ...]:
        """The passage in passes, each with what really follows its tokens."""
        return tuple(windows(self.passage, min(WINDOW_TOKENS, self.spec.context)))

    @cached_property
    def windows(self) -> tuple[tuple[int, ...], ...]:
        """What is fed in each pass over the passage."""
        return tuple(window.ids for window in self.passes)

    @property
    def traces(self) -> tuple[Trace, ...]:
        """Every site of every window but the logits, watched; read once for all experiments."""
        self.check()
        return self._traces

    @cached_property
    def _traces(self) -> tuple[Trace, ...]:
        self.tell(f"reading {len(self.passage):,} tokens")
        return tuple(self.see(ids) for ids in self.windows)

    def once(self, measure: Callable[["Subject"], T]) -> T:
        """What `measure` finds, found once for all experiments."""
        if measure not in self._once:
            self._once[measure] = measure(self)
        found: T = self._once[measure]
        return found

    def see(self, ids: Sequence[int], edits: Sequence[Edit] = (), watch: Watch | None = None) -> Trace:
        """One watched pass over `ids`, nothing generated; every site but the logits where `watch` is None."""
        self.check()
        wanted = watch or Watch(parts=tuple(PARTS))
        trace = self.model.run(ids=list(ids), max_new_tokens=0, watch=wanted, edits=edits)
        self.check()  # a model that was told to stop returns what it has so far
        self.fed += len(ids)
        return trace

    def answers(self, asks: Iterable[Ask], read: Callable[[Float32[np.ndarray, "row vocab"]], T]) -> list[T]:
        """What `read` makes of the logits of each prompt; what prompts share is fed once."""
        wanted = list(asks)
        self.fed += sum(len(ask.ids) - start for ask, start in starts(wanted))
        return self.model.with_engine(
            lambda engine: [read(logits) for logits in logits_after(engine, wanted, self.check)]
        )

    def logits(self, ids: Sequence[int], edits: Sequence[Edit] = ()) -> Float32[np.ndarray, "token vocab"]:
        """Logits after every one of `ids`, with what `edits` change."""
        (found,) = self.answers([Ask(tuple(ids), tuple(edits), len(ids))], lambda logits: logits)
        return found

    def says(self, ids: Sequence[int], edits: Sequence[Edit] = ()) -> int:
        """The likeliest token after `ids`, with what `edits` change."""
        return self.answers([Ask(tuple(ids), tuple(edits))], lambda logits: int(logits[-1].argmax()))[0]

    def rows(self, layer: int, part: str) -> Float32[np.ndarray, "token ..."]:
        """A site over the whole passage, window after window."""
        return np.concatenate([trace.site(layer_site(layer, part)) for trace in self.traces])

    def token_losses_nats(self, passes: Sequence[Window], edits: Sequence[Edit] = ()) -> Float64[np.ndarray, " token"]:
        """What each next token of some passes costs, in nats, with what `edits` change."""
        costs = (token_losses_nats(self.logits(window.ids, edits), np.array(window.targets)) for window in passes)
        return np.concatenate(list(costs))

    def repeats(self, sequences: int, tokens: int = 25, times: int = 4) -> Iterator[list[int]]:
        """Random tokens said several times over (Olsson et al. 2022); a token that begins every text comes first."""
        longest = (self.spec.context - len(self.begin)) // times
        for number in range(sequences):
            drawn = repeated_tokens(
                self.spec.vocab_size,
                np.random.default_rng([SEED, number]),
                tokens=min(tokens, longest, self.spec.vocab_size // 2),
                times=times,
            )
            yield [*self.begin, *(int(id) for id in drawn)]

    @cached_property
    def known(self) -> tuple[Known, ...]:
        """The first of the facts asked for that the model knows; none where it knows none."""
        self.tell("asking for facts")
        found: list[Known] = []
        for question in self.asked:
            if len(found) == KNOWN_QUESTIONS:
                break
            ids, answer = self.tokenizer.encode_answer(question.prompt, question.answer)
            if not answer or len(ids) > self.spec.context:
                continue
            (last,) = self.answers([Ask(tuple(ids))], lambda logits: logits)
            likeliest, probability = _said(last, answer[0])
            if likeliest == answer[0]:
                place = self.tokenizer.places(question.prompt, question.subject)
                found.append(Known(question, tuple(ids), place, answer[0], probability))
        return tuple(found)

    def probabilities(self, known: Known, changed: Iterable[Sequence[Edit]]) -> list[float]:
        """What the answer's first token is given after the prompt, with each of some sets of edits."""
        asks = (Ask(known.ids, tuple(edits)) for edits in changed)
        return self.answers(asks, lambda logits: _said(logits, known.answer)[1])

    def probability(self, known: Known, edits: Sequence[Edit] = ()) -> float:
        """The same with one set of edits."""
        return self.probabilities(known, [edits])[0]


def _said(logits: Float32[np.ndarray, "row vocab"], answer: int) -> tuple[int, float]:
    """The likeliest token after a prompt, and the probability of `answer` there."""
    return int(logits[-1].argmax()), float(np.exp(-token_losses_nats(logits[-1:], np.array([answer]))[0]))


def most_tokens(spec: DecoderSpec) -> int:
    """Tokens of the passage whose traces stay within `HELD_BYTES`, `PASSAGE_TOKENS` at most."""
    a_token = Watch(parts=tuple(PARTS)).cost_bytes(spec, 1)
    return max(3, min(PASSAGE_TOKENS, HELD_BYTES // a_token))
