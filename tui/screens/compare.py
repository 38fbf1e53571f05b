"""The compare dialog: what to compare the current run with."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from models.errors import EdgeError
from models.zoo import zoo_names
from tui.available_models import is_comparable
from tui.background_reader import BackgroundReader, BackgroundTaskFailed
from tui.comparison_request import ComparisonRequest
from tui.jobs.job import ModelOnEngine
from tui.jobs.run import Prompt
from tui.screens.dialog import Dialog, Field
from tui.widgets.choice_list import Choice, ChoiceList

STOP = "stop"


@dataclass
class ComparableModelsFound(Message):
    """Models were found whose runs can be compared with the current model's."""

    models: tuple[str, ...]


@dataclass(frozen=True)
class Compared:
    """The answer: the comparison run; None ends the comparison."""

    comparison: ComparisonRequest | None


class CompareScreen(Dialog[Compared]):
    """Engines and models on the same tokens, another prompt, or a saved trace.

    Args:
        target: The model of the current run; None for a saved trace.
        template: Options of a new run, without its text.
        compared: The name of the comparison run; empty without one.
    """

    DEFAULT_CSS = "#compare-with { height: 1fr; }"
    title_of_frame: ClassVar[str] = "compare with"
    keys: ClassVar[str] = "enter or a second click compares · tab next field · escape closes"

    def __init__(
        self,
        reader: BackgroundReader,
        target: ModelOnEngine | None,
        engines: list[str],
        models: tuple[str, ...],
        template: Prompt,
        compared: str,
    ) -> None:
        super().__init__()
        self._reader, self._target, self._template, self._compared_name = reader, target, template, compared
        self._engines = engines
        self._models = tuple(dict.fromkeys((*zoo_names(), *models)))
        self._requests: dict[str, ComparisonRequest | None] = {}

    def compose_fields(self) -> Iterator[Widget]:
        yield ChoiceList(id="compare-with")
        if self._target is not None:
            yield Field("another prompt", placeholder="text of the comparison run", id="compare-prompt")
        yield Field("a saved trace", placeholder="a trace file; same number of layers and heads", id="compare-trace")

    def on_mount(self) -> None:
        self.query_one(ChoiceList).border_title = Content("the same tokens on")
        self._offer(())
        target, models = self._target, self._models
        if target is None:
            self.note("this is a saved trace: it can be compared with another trace only; 'o' opens a model")
            self.query_one("#compare-trace").focus()
            return
        self.query_one(ChoiceList).focus()
        self._reader.submit(
            "comparable models",
            lambda: ComparableModelsFound(tuple(one for one in models if _fits(target.model, one))),
            self,
        )

    def on_comparable_models_found(self, message: ComparableModelsFound) -> None:
        chosen = self.query_one(ChoiceList).current_choice
        self._offer(message.models)
        self.query_one(ChoiceList).point_at(chosen or "")

    def on_background_task_failed(self, message: BackgroundTaskFailed) -> None:
        self.note(f"other models could not be listed: {message.text}")

    def _offer(self, models: tuple[str, ...]) -> None:
        stop = [Choice(STOP, "stop comparing", self._compared_name)] if self._compared_name else []
        self._requests = {STOP: None}
        groups = {"": stop, "this model on another engine": [], "another model with the same tokens": []}
        if (target := self._target) is not None:
            others = [ModelOnEngine(target.model, engine) for engine in self._engines]
            same_tokens = [ModelOnEngine(model, target.engine) for model in models]
            groups["this model on another engine"] = [self._choice(one, one.engine) for one in others]
            groups["another model with the same tokens"] = [
                self._choice(one, f"{Path(one.model).name} on {one.engine}") for one in same_tokens
            ]
        self.query_one(ChoiceList).offer(groups)
        self.query_one(ChoiceList).point_at("")

    def _choice(self, target: ModelOnEngine, name: str) -> Choice:
        key = f"{target.model} {target.engine}"
        self._requests[key] = ComparisonRequest(name, target=target)
        return Choice(key, name)

    @on(ChoiceList.OptionSelected)
    def compare_chosen(self) -> None:
        key = self.query_one(ChoiceList).current_choice
        if key is not None:
            self.dismiss(Compared(self._requests[key]))

    @on(Field.Submitted, "#compare-prompt")
    def compare_prompt(self, event: Field.Submitted) -> None:
        if text := event.value:
            prompt = Prompt(text, self._template.max_new_tokens, self._template.sampling)
            self.dismiss(Compared(ComparisonRequest("another prompt", prompt=prompt)))
        else:
            self.refuse("type the text of the comparison run")

    @on(Field.Submitted, "#compare-trace")
    def compare_trace(self, event: Field.Submitted) -> None:
        path = Path(event.value.strip()).expanduser()
        if path.is_file():
            self.dismiss(Compared(ComparisonRequest(path.name, saved=path)))
        else:
            self.refuse(f"there is no file '{event.value.strip()}'; choose a file written by 'w' or 'edge trace'")


def _fits(model: str, other: str) -> bool:
    """Whether another model can be compared; False if it cannot be read."""
    try:
        return other != model and is_comparable(model, other)
    except EdgeError:
        return False
