"""The model that experiments are made on: what it read, what was seen of it, and what it answers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32, Float64

from edge.compare.estimate import costs_nats
from edge.compare.passage import Window, windows
from edge.edits import Edit
from edge.lab.prompts import SEED, Question, questions, reading
from edge.probes import repeated_tokens
from edge.readout import Readout, open_readout
from edge.session import Model
from edge.trace import Trace
from edge.watch import Watch
from models.errors import MisuseError
from models.other_formats import without_tokenizer
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

Progress = Callable[[str], None]


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

    def see(self, ids: Sequence[int], edits: Sequence[Edit] = (), watch: Watch | None = None) -> Trace:
        """One watched pass over `ids`, nothing generated; every site but the logits where `watch` is None."""
        self.check()
        wanted = watch or Watch(parts=tuple(PARTS))
        trace = self.model.run(ids=list(ids), max_new_tokens=0, watch=wanted, edits=edits)
        self.check()  # a model that was told to stop returns what it has so far
        return trace

    def logits(self, ids: Sequence[int], edits: Sequence[Edit] = ()) -> Float32[np.ndarray, "token vocab"]:
        """Logits after every one of `ids`, with what `edits` change."""
        self.check()
        return self.model.logits(list(ids), edits)

    def rows(self, layer: int, part: str) -> Float32[np.ndarray, "token ..."]:
        """A site over the whole passage, window after window."""
        return np.concatenate([trace.site(layer_site(layer, part)) for trace in self.traces])

    def costs_nats(self, passes: Sequence[Window], edits: Sequence[Edit] = ()) -> Float64[np.ndarray, " token"]:
        """What each next token of some passes costs, in nats, with what `edits` change."""
        logits = (self.logits(window.ids, edits) for window in passes)
        return np.concatenate(
            [costs_nats(rows, np.array(window.targets)) for rows, window in zip(logits, passes, strict=True)]
        )

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
            last = self.logits(ids)[-1:]
            costs = costs_nats(last, np.array(answer[:1]))
            if int(last[0].argmax()) == answer[0]:
                place = self.tokenizer.places(question.prompt, question.subject)
                found.append(Known(question, tuple(ids), place, answer[0], float(np.exp(-costs[0]))))
        return tuple(found)

    def probability(self, known: Known, edits: Sequence[Edit] = ()) -> float:
        """What the answer's first token is given after the prompt, with what `edits` change."""
        logits = self.logits(known.ids, edits)[-1:]
        return float(np.exp(-costs_nats(logits, np.array([known.answer]))[0]))


def most_tokens(spec: DecoderSpec) -> int:
    """Tokens of the passage whose traces stay within `HELD_BYTES`, `PASSAGE_TOKENS` at most."""
    a_token = Watch(parts=tuple(PARTS)).cost_bytes(spec, 1)
    return max(3, min(PASSAGE_TOKENS, HELD_BYTES // a_token))
