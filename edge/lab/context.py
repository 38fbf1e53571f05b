"""The model under test: its traces of a passage, the facts that it knows, and its logits after any prompt."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float32, Float64

from edge.change import Edit
from edge.compare.estimate import token_losses_nats
from edge.compare.tokenized_text import Window, windows
from edge.lab.passes import Prompt, logits_after, starts
from edge.lab.prompts import SEED, Question, passage_text
from edge.lab.prompts import questions as default_questions
from edge.readout import Readout, open_readout
from edge.repeated_tokens import repeated_tokens
from edge.session import Model
from edge.trace import Trace
from edge.watch import Watch
from models.errors import MisuseError
from models.progress import Progress
from models.sites import layer_site
from models.spec import DecoderSpec
from models.tokenizer import Tokenizer

MAX_PASSAGE_TOKENS = 2_048
"""Tokens of the passage, unless the caller sets another number or the traces would exceed `MAX_TRACE_BYTES`."""

MAX_TRACE_BYTES = 10**9
"""Memory limit for the traces of the passage."""

WINDOW_TOKENS = 256
"""Maximum number of tokens in one window of the passage; each window is a separate pass without earlier context."""

MAX_KNOWN_FACTS = 24
"""Maximum number of facts: the first questions that the model answers correctly are used."""

T = TypeVar("T")


@dataclass(frozen=True)
class KnownFact:
    """A question that the model answers correctly: its top-1 token after the prompt begins the answer.

    Attributes:
        ids: The prompt.
        subject: Positions of the subject's tokens in it.
        answer: The answer's first token.
        probability: The probability of that token.
    """

    question: Question
    ids: tuple[int, ...]
    subject: tuple[int, ...]
    answer: int
    probability: float


class LabContext:
    """A loaded model and the texts on which it is tested; results that several experiments need are computed once.

    Attributes:
        passage: Tokens of the text.
        source: The origin of the text.
        questions: Questions about facts that the model may know; capitals if the caller gives none.
        tokens_fed: Tokens fed so far, without timing runs.
        progress: Called with a message on the current step.
        check: Called around each pass and before traces are read again; an exception from it ends the experiment.
    """

    def __init__(
        self,
        model: Model,
        *,
        text: str | None = None,
        source: str = "built in",
        tokens: int | None = None,
        questions: Sequence[Question] | None = None,
        progress: Progress = lambda _: None,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        if model.tokenizer is None:
            raise MisuseError(f"the lab cannot encode its texts: {model.checkpoint.source.without_tokenizer()}")
        self.model, self.spec, self.progress, self.check, self.source = model, model.spec, progress, check, source
        self.questions = tuple(default_questions()) if questions is None else tuple(questions)
        self.tokenizer: Tokenizer = model.tokenizer
        self.tokens_fed = 0
        self._results: dict[Callable[..., Any], Any] = {}
        ids = self.tokenizer.encode(passage_text() if text is None else text)
        self.passage = tuple(ids[: tokens or max_passage_tokens(model.spec)])
        if len(self.passage) < 3:
            raise MisuseError(f"the text has {len(self.passage)} tokens; the lab needs at least 3")

    @cached_property
    def readout(self) -> Readout:
        """The model's final norm and unembedding, in numpy."""
        return open_readout(self.model.checkpoint)

    @cached_property
    def start_tokens(self) -> tuple[int, ...]:
        """The special tokens that begin every text, such as BOS; none for some tokenizers."""
        return tuple(self.tokenizer.encode(""))

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """The windows of the passage; each has the next token of every token."""
        return tuple(windows(self.passage, min(WINDOW_TOKENS, self.spec.context)))

    @cached_property
    def window_ids(self) -> tuple[tuple[int, ...], ...]:
        """The token ids of each window of the passage."""
        return tuple(window.ids for window in self.windows)

    @property
    def traces(self) -> tuple[Trace, ...]:
        """A trace of each window with every site but the logits; computed once for all experiments."""
        self.check()
        return self._traces

    @cached_property
    def _traces(self) -> tuple[Trace, ...]:
        self.progress(f"running {len(self.passage):,} tokens of the shared text")
        return tuple(self.run(ids) for ids in self.window_ids)

    def cached(self, measure: Callable[["LabContext"], T]) -> T:
        """The result of `measure`, computed once for all experiments."""
        if measure not in self._results:
            self._results[measure] = measure(self)
        found: T = self._results[measure]
        return found

    def run(self, ids: Sequence[int], edits: Sequence[Edit] = (), watch: Watch | None = None) -> Trace:
        """The trace of one pass over `ids` without generation; every site but the logits if `watch` is None."""
        self.check()
        wanted = watch or Watch(parts=None)
        trace = self.model.run(ids=list(ids), max_new_tokens=0, watch=wanted, edits=edits)
        self.check()  # a stopped model returns a partial trace
        self.tokens_fed += len(ids)
        return trace

    def read_logits(self, prompts: Iterable[Prompt], read: Callable[[Float32[np.ndarray, "row vocab"]], T]) -> list[T]:
        """The result of `read` for the logits of each prompt; prefixes that prompts share are fed once."""
        wanted = list(prompts)
        self.tokens_fed += sum(len(prompt.ids) - start for prompt, start in starts(wanted))
        return self.model.with_engine(
            lambda engine: [read(logits) for logits in logits_after(engine, wanted, self.check)]
        )

    def logits(self, ids: Sequence[int], edits: Sequence[Edit] = ()) -> Float32[np.ndarray, "token vocab"]:
        """Logits after each of `ids`, with edits."""
        (found,) = self.read_logits([Prompt(tuple(ids), tuple(edits), len(ids))], lambda logits: logits)
        return found

    def top_token(self, ids: Sequence[int], edits: Sequence[Edit] = ()) -> int:
        """The top-1 next token after `ids`, with edits."""
        return self.read_logits([Prompt(tuple(ids), tuple(edits))], lambda logits: int(logits[-1].argmax()))[0]

    def site(self, layer: int, part: str) -> Float32[np.ndarray, "token ..."]:
        """The values of a site over the whole passage, window after window."""
        return np.concatenate([trace.site(layer_site(layer, part)) for trace in self.traces])

    def token_losses_nats(self, windows: Sequence[Window], edits: Sequence[Edit] = ()) -> Float64[np.ndarray, " token"]:
        """The cross-entropy of each next token of some windows, in nats, with edits."""
        losses = (token_losses_nats(self.logits(window.ids, edits), np.array(window.targets)) for window in windows)
        return np.concatenate(list(losses))

    def repeats(self, sequences: int, tokens: int = 25, times: int = 4) -> Iterator[list[int]]:
        """Lists of random tokens, each repeated `times` times (Olsson et al. 2022), after the start tokens."""
        longest = (self.spec.context - len(self.start_tokens)) // times
        for number in range(sequences):
            sampled = repeated_tokens(
                self.spec.vocab_size,
                np.random.default_rng([SEED, number]),
                tokens=min(tokens, longest, self.spec.vocab_size // 2),
                times=times,
            )
            yield [*self.start_tokens, *(int(id) for id in sampled)]

    @cached_property
    def known_facts(self) -> tuple[KnownFact, ...]:
        """The first questions that the model answers correctly; may be empty."""
        self.progress("testing which facts the model knows")
        found: list[KnownFact] = []
        for question in self.questions:
            if len(found) == MAX_KNOWN_FACTS:
                break
            ids, answer = self.tokenizer.encode_answer(question.prompt, question.answer)
            if not answer or len(ids) > self.spec.context:
                continue
            (last,) = self.read_logits([Prompt(tuple(ids))], lambda logits: logits)
            top1, probability = _top1_and_probability(last, answer[0])
            if top1 == answer[0]:
                place = self.tokenizer.places(question.prompt, question.subject)
                found.append(KnownFact(question, tuple(ids), place, answer[0], probability))
        return tuple(found)

    def probabilities(self, known: KnownFact, edit_sets: Iterable[Sequence[Edit]]) -> list[float]:
        """The probability of the answer's first token after the prompt, for each set of edits."""
        prompts = (Prompt(known.ids, tuple(edits)) for edits in edit_sets)
        return self.read_logits(prompts, lambda logits: _top1_and_probability(logits, known.answer)[1])

    def probability(self, known: KnownFact, edits: Sequence[Edit] = ()) -> float:
        """The same for one set of edits."""
        return self.probabilities(known, [edits])[0]


def _top1_and_probability(logits: Float32[np.ndarray, "row vocab"], answer: int) -> tuple[int, float]:
    """The top-1 token after a prompt, and the probability of `answer`."""
    return int(logits[-1].argmax()), float(np.exp(-token_losses_nats(logits[-1:], np.array([answer]))[0]))


def max_passage_tokens(spec: DecoderSpec) -> int:
    """The most tokens of the passage whose traces stay within `MAX_TRACE_BYTES`; at most `MAX_PASSAGE_TOKENS`."""
    token_bytes = Watch(parts=None).cost_bytes(spec, 1)
    return max(3, min(MAX_PASSAGE_TOKENS, MAX_TRACE_BYTES // token_bytes))
