"""Parity: the error of every engine against a reference, site by site and in total, and the laws."""

from collections.abc import Iterator
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget
from textual.widgets import Static

from edge.compare.result import Comparison
from edge.compare.tokenized_text import LONGEST_WINDOW
from edge.engines.registry import installed_engines
from edge.laws.case import LONGEST
from edge.laws.registry import LAWS, law_5
from edge.laws.result import LawResult
from edge.tables import Table
from tui.jobs.compare import COMPARING, CompareEngines, cost_text, engine_sets
from tui.jobs.estimate import EngineSets
from tui.jobs.job import JobRequested
from tui.jobs.laws import CheckLaws
from tui.messages import LayerChosen
from tui.options import after
from tui.parity_table import Line, as_table, first_differences, headings, layer_lines, site_lines, sum_lines
from tui.view_state import ModelSummary, ViewState
from tui.views.view import View
from tui.widgets.pane import Pane
from tui.widgets.parity.law_list import LawList, LawStatus
from tui.widgets.parity.site_matrix import SiteMatrix
from tui.widgets.text_line import TextLine

OF_ONE_MODEL = tuple(law.number for law in LAWS if law.check is not None)
"""Laws that need no comparison of engines."""

KEY = " ● within tolerance  ◐ up to 10 ×  ○ over 10 ×  ◀ first site over tolerance"

TIGHT = 13
"""Lines of the view below which notes are hidden."""


class ParityView(View):
    """One row per site or layer with every engine's error; a summary; the laws."""

    DEFAULT_CSS = """
    ParityView {
        & > .panes { layout: grid; grid-size: 2 2; grid-columns: 3fr 2fr; grid-rows: 1fr 15; }
        #laws-pane { row-span: 2; }
        &.folded #laws-pane { row-span: 1; }
        .key { height: 1; color: $text-muted; }
        .key { text-wrap: nowrap; text-overflow: ellipsis; }
        #law-about { height: auto; max-height: 50%; padding: 0 1; color: $text-muted; }
        &.tight #firsts, &.tight #law-about, #law-about.hidden { display: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "measure", "compare", tooltip="Compare engines site by site, each in a separate process"),
        Binding("a", "engine_set", "engines", tooltip="Select which engines are compared"),
        Binding("v", "rows", "rows", tooltip="One row per site, or one per layer with its largest error"),
        Binding("enter,space", "law", "check law", key_display="⏎", tooltip="Check the selected law on this model"),
        Binding("b", "laws", "all laws", tooltip="Check all laws on this model"),
    ]

    title = "Parity"
    tabs: ClassVar[dict[str, str]] = {"sites": "sites", "summary": "summary", "laws": "laws"}
    roomy = (132, 28)
    shows = "engines run separately"
    needs_run = False

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._state = ViewState()
        self._comparison: Comparison | None = None
        self._agreement: LawResult | None = None
        self._layer = -1
        self._by_layer, self._progress = False, ""
        self._engine_sets = EngineSets(engine_sets, installed_engines())

    def compose_panes(self) -> Iterator[Widget]:
        firsts = TextLine(id="firsts")
        yield Pane(
            "sites", self.tabs["sites"], SiteMatrix(id="sites"), firsts, Static(KEY, classes="key", markup=False)
        )
        yield Pane("laws", self.tabs["laws"], LawList(id="laws"), Static(id="law-about"))
        yield Pane("summary", self.tabs["summary"], SiteMatrix(id="summary"))

    # ---- drawing ---------------------------------------------------------------------------------------

    def draw(self, state: ViewState) -> None:
        was, self._state = self._state, state
        if state.comparison is not self._comparison:
            self._comparison = state.comparison
            self._draw_comparison()
        self._draw_notice()
        if state.selection.layer != self._layer and state.main is not None:
            self._layer = state.selection.layer
            self.query_one("#sites", SiteMatrix).choose_layer(self._layer)
        if was.model is not state.model or was.main is not state.main or was.comparison is not state.comparison:
            self.refresh_bindings()
        self._draw_laws()

    def show_progress(self, work: str) -> None:
        """Says in place of the matrix how far a comparison is."""
        is_comparing = work.startswith(COMPARING)
        if is_comparing or self._progress:
            self._progress = work.removeprefix(f"{COMPARING}: ") if is_comparing else ""
            self._draw_notice()

    def _draw_comparison(self) -> None:
        found = self._comparison
        self._agreement = law_5(found) if found else None
        sites, sums = self.query_one("#sites", SiteMatrix), self.query_one("#summary", SiteMatrix)
        self.query_one("#firsts", TextLine).show_text(
            f" first site over tolerance: {first_differences(found)}" if found else ""
        )
        if found is None:
            sites.lines = sums.lines = ()
            sites.headings = sums.headings = ()
            return
        sites.title, sums.title = "site", f"vs {found.reference.name}"
        sites.headings, sums.headings = headings(found), tuple((name, "") for name, _ in headings(found))
        sites.lines, sums.lines = self._site_lines(found), sum_lines(found)
        if self._layer >= 0:
            sites.choose_layer(self._layer)

    def _site_lines(self, found: Comparison) -> tuple[Line, ...]:
        return layer_lines(found) if self._by_layer else site_lines(found)

    def _draw_notice(self) -> None:
        notice, found = self._comparison_notice(), self._comparison
        sites, sums = self.query_one("#sites", SiteMatrix), self.query_one("#summary", SiteMatrix)
        sites.notice, sums.notice = notice, "how much the predictions differ" if notice else ""
        self.query_one("#sites-pane .key").display = not notice
        panes = [self.query_one(f"#{name}-pane", Pane) for name in ("sites", "summary")]
        if notice or found is None:
            for pane in panes:
                pane.set_title("")
            return
        text = found.text
        source = "the bundled text" if text.source == "built in" else f"'{text.source}'"
        rows = "largest error per layer" if self._by_layer else "every site"
        panes[0].set_title(f"vs {found.reference.name} · {rows}", f"{text.site_tokens} tokens of {source}")
        greedy = f"greedy decoding: {text.generated_tokens} tokens after the first {text.prompt_tokens}"
        panes[1].set_title(f"{text.tokens - 1} predictions in {text.tokens} tokens", greedy)

    def _comparison_notice(self) -> str:
        """The next action, or the running one, before the first comparison; empty after it."""
        model, choice = self._state.model, self._engine_sets.current(self._state.model)
        if self._progress:
            return f"comparing engines, each in a separate process\n\n{self._progress}\n\nescape stops it"
        if self._comparison is not None:
            return ""
        if model is None:
            return "no model is loaded yet"
        if not model.source:
            return "a saved trace has no model to compare; open one with o, then press m"
        if choice is None:
            return "only onnx is installed, in one precision; to compare: pip install 'edge-lens[all]'"
        others = after(self._engine_sets.available(self._state.model), choice)
        another = f"\na chooses other engines: {', '.join(others.others)}" if others != choice else ""
        cost = cost_text(model, choice.engines, self._tokens, self._state.step_ns)
        return (
            f"press m to compare {', '.join(choice.others)}\nwith {choice.engines[0]}, site by site, "
            f"on {self._tokens_words}\n\nexpected: {cost}\n"
            f"missing quantizations and exports are made first{another}"
        )

    def make_room(self, size: Size) -> None:
        self.set_class(size.height < TIGHT, "tight")

    # ---- laws -------------------------------------------------------------------------------------------

    def _draw_laws(self) -> None:
        state, laws = self._state, self.query_one(LawList)
        model, pane = state.model, self.query_one("#laws-pane", Pane)
        about = self.query_one("#law-about", Static)
        laws.notice = _no_laws(model)
        about.set_class(bool(laws.notice), "hidden")
        if model is None or laws.notice:
            pane.set_title("")
            return
        found, waiting = self._found_laws(model), state.laws_queued
        statuses = tuple(
            LawStatus(law, found.get(law.number), waiting.index(law.number) if law.number in waiting else None)
            for law in LAWS
        )
        if statuses != laws.statuses:
            laws.statuses = statuses
            self.refresh_bindings()
        passed, failed = (sum(one.passed is verdict for one in found.values()) for verdict in (True, False))
        counted = f"{passed} pass, {failed} fail" if found else "none checked yet"
        chosen = statuses[laws.chosen - 1]
        pane.set_title(f"{model.name} on {model.engine}", (self.has_class("tight") and chosen.place) or counted)
        about.update(Content(chosen.about(f"{self._tokens_words}, {LONGEST} at most")))

    def _found_laws(self, model: ModelSummary) -> dict[int, LawResult]:
        found = dict(self._state.laws.get(model.engine, {}))
        if self._agreement is not None:
            found[self._agreement.number] = self._agreement
        return found

    # ---- keys -------------------------------------------------------------------------------------------

    @property
    def _tokens(self) -> int:
        main = self._state.main
        return min(len(main.trace.tokens), LONGEST_WINDOW) if main else LONGEST_WINDOW

    @property
    def _tokens_words(self) -> str:
        return f"the {self._tokens} tokens of this run" if self._state.main else "the bundled text"

    @property
    def _has_model(self) -> bool:
        return self._state.model is not None and bool(self._state.model.source)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        match action:
            case "measure":
                return bool(self._engine_sets.available(self._state.model)) or None
            case "engine_set":
                return len(self._engine_sets.available(self._state.model)) > 1 or None
            case "rows":
                return self._comparison is not None or None
            case "law":
                return self._has_model and self.pane == "laws"
            case "laws":
                return self._has_model or None
        return True

    def action_measure(self) -> None:
        model, choice, main = self._state.model, self._engine_sets.current(self._state.model), self._state.main
        if model is not None and choice is not None:
            self.post_message(JobRequested(CompareEngines(model.source, choice.engines, main.trace if main else None)))

    def action_engine_set(self) -> None:
        self._engine_sets.next()
        self._draw_notice()
        if self._comparison is not None and (choice := self._engine_sets.current(self._state.model)) is not None:
            self.notify(f"m compares {', '.join(choice.others)} with {choice.engines[0]}", title=choice.title)

    def action_rows(self) -> None:
        self._by_layer = not self._by_layer
        if self._comparison is not None:
            sites = self.query_one("#sites", SiteMatrix)
            layer = sites.chosen_line.layer if sites.chosen_line else None
            sites.lines = self._site_lines(self._comparison)
            if layer is None:
                sites.chosen = len(sites.lines) - 1
            else:
                sites.choose_layer(layer)
            self._draw_notice()

    def action_law(self) -> None:
        number = self.query_one(LawList).chosen
        if number in OF_ONE_MODEL:
            self._check((number,))
        else:
            self.action_measure()

    def action_laws(self) -> None:
        self._check(OF_ONE_MODEL)

    def _check(self, numbers: tuple[int, ...]) -> None:
        main = self._state.main
        self.post_message(JobRequested(CheckLaws(numbers, main.trace.tokens if main else None)))

    def on_law_list_chosen(self, message: LawList.Chosen) -> None:
        message.stop()
        self.query_one(LawList).chosen = message.number
        self._draw_laws()

    def on_site_matrix_chosen(self, message: SiteMatrix.Chosen) -> None:
        message.stop()
        if message.line.layer is not None and message.line.layer != self._layer:
            self._layer = message.line.layer
            if self._state.main is not None:
                self.post_message(LayerChosen(message.line.layer))

    def table(self, state: ViewState) -> Table | None:
        return as_table(state.comparison) if state.comparison is not None else None


def _no_laws(model: ModelSummary | None) -> str:
    """Why no law can be checked, and what to do; empty where they can."""
    if model is None:
        return "no model is loaded yet"
    return "" if model.source else "laws need a model, and a saved trace has none; open one with o"
