"""Lab: claims about attention and the FFN, tested on the current model, with results and figures."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.widget import Widget

from edge.lab.claim import Experiment
from edge.lab.context import max_passage_tokens
from edge.lab.number_table import number_table
from edge.lab.run import ClaimResult
from edge.tables import Table
from tui.claim_text import about, awaited, contrast_blocks, figures, lacking, record_of, results_of
from tui.jobs.job import JobRequested
from tui.jobs.lab import RunClaimTests, known_experiments, read_tokens
from tui.view_state import ViewState
from tui.views.view import View
from tui.widgets.lab.claim_list import MARKS, ClaimList, ClaimStatus
from tui.widgets.lab.figure import Figure
from tui.widgets.lab.text_sheet import Block, TextSheet
from tui.widgets.pane import Pane

BESIDE = 104
"""Columns from which the claims and one other pane fit side by side."""


class LabView(View):
    """Lab: all claims; question, result and figures of the chosen one."""

    DEFAULT_CSS = """
    LabView {
        & > .panes { layout: grid; grid-size: 3 2; grid-columns: 40% 1fr 1fr; grid-rows: 1fr 1fr; }
        #figure-pane { column-span: 2; }
        &.folded > .panes { grid-size: 1 1; grid-columns: 1fr; grid-rows: 1fr; }
        &.folded #figure-pane { column-span: 1; }
        &.folded.beside > .panes { grid-size: 2 1; grid-columns: 47% 1fr; }
        &.folded.beside #claims-pane, &.folded.beside Pane.aside { display: block; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space", "test", "test", key_display="⏎", tooltip="Test the selected claim on this model"),
        Binding("a", "test_all", "test all", tooltip="Test every claim that was not tested, or all again"),
        Binding("f", "figure(1)", "figure", tooltip="Show the next figure of the selected claim"),
        Binding("b", "figure(-1)", "previous figure", show=False, tooltip="Show the previous figure"),
        Binding("x", "claim(1)", "claim", tooltip="Select the next claim, from any pane"),
        Binding("z", "claim(-1)", "previous claim", show=False, tooltip="Select the previous claim, from any pane"),
    ]

    title = "Lab"
    tabs: ClassVar[dict[str, str]] = {
        "claims": "claims",
        "about": "about",
        "results": "results",
        "figure": "figure",
        "contrast": "attention vs FFN",
    }
    roomy = (150, 30)
    shows = "claims use bundled texts"
    needs_run = False

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._chosen, self._at_figure, self._aside = "", 0, "about"
        self._state: ViewState | None = None
        self._drawn: tuple[object, ...] = ()
        self._offered: tuple[object, ...] = ()
        self._tests_all = False

    def compose_panes(self) -> Iterator[Widget]:
        yield Pane("claims", "claims", ClaimList(id="claims"))
        yield Pane("about", "about", TextSheet(id="about"))
        yield Pane("results", "results", TextSheet(id="results"))
        yield Pane("contrast", "attention vs FFN", TextSheet(id="contrast"))
        yield Pane("figure", "figure", Figure(id="figure"))

    @property
    def _experiments(self) -> tuple[Experiment, ...]:
        return known_experiments()

    @property
    def _experiment(self) -> Experiment:
        """The chosen claim."""
        return next((one for one in self._experiments if one.key == self._chosen), self._experiments[0])

    # ---- drawing ----------------------------------------------------------------------------------------

    def draw(self, state: ViewState) -> None:
        self._state, self._chosen = state, self._experiment.key
        new = (state.model, state.claim_results, state.claims_queued, self._chosen, self._at_figure)
        if len(self._drawn) == len(new) and all(one is other for one, other in zip(new, self._drawn, strict=True)):
            return
        ended = bool(self._drawn) and bool(self._drawn[2]) and not state.claims_queued
        self._drawn = new
        result = state.claim_results.get(self._chosen)
        self._draw_claims(state)
        self._fill("about", about(self._experiment, result), self._chosen)
        self._draw_results(state, result)
        self._draw_figure(state, result)
        self._draw_contrast(state)
        self._offer()
        if ended and self._tests_all:
            self._tests_all = False
            if not self._untested(state):
                self._show_pane("contrast")

    def _draw_claims(self, state: ViewState) -> None:
        claims = self.query_one(ClaimList)
        claims.statuses = tuple(
            ClaimStatus(
                one,
                state.claim_results.get(one.key),
                state.claims_queued.index(one.key) if one.key in state.claims_queued else None,
            )
            for one in self._experiments
        )
        claims.chosen = self._chosen
        verdicts = [one.finding.verdict for one in state.claim_results.values()]
        counts = (
            f"{mark} {verdicts.count(verdict)} {verdict}" for verdict, mark in MARKS.items() if verdict in verdicts
        )
        note = ", ".join(counts) or "none tested yet"
        self.query_one("#claims-pane", Pane).set_title("", note)

    def _draw_results(self, state: ViewState, result: ClaimResult | None) -> None:
        self.query_one("#results", TextSheet).notice = "" if result else awaited(self._chosen, state)
        if result is None:
            self._fill("results", (), self._chosen)
        else:
            verdict = result.finding.verdict
            title = f"{result.key} {MARKS[verdict]} {verdict}"
            self._fill("results", results_of(result), title, _sample_note(state))

    def _draw_figure(self, state: ViewState, result: ClaimResult | None) -> None:
        figure, pane = self.query_one(Figure), self.query_one("#figure-pane", Pane)
        drawn = figures(result)
        shown = drawn[self._at_figure % len(drawn)] if drawn else None
        figure.shown = shown
        if shown is None:
            figure.show_notice(f"{self._chosen} has no figures" if result else awaited(self._chosen, state))
            pane.set_title("")
        else:
            place = f"{self._at_figure % len(drawn) + 1} of {len(drawn)}"
            pane.set_title(f"{self._chosen} · {place} · {shown.title}", figure.description)

    def _draw_contrast(self, state: ViewState) -> None:
        has_any = state.model is not None and bool(state.claim_results)
        blocks = contrast_blocks(record_of(state.model, state)) if state.model is not None and has_any else ()
        nothing = "the tested claims have no number of this table" if has_any else "no claim is tested yet"
        self.query_one("#contrast", TextSheet).notice = "" if blocks else f"{nothing}; a tests all"
        missing = len(self._untested(state))
        note = f"{missing} of {len(self._experiments)} claims not tested" if has_any and missing else ""
        self._fill("contrast", blocks, note)

    def _fill(self, name: str, blocks: tuple[Block, ...], title: str, note: str = "") -> None:
        self.query_one(f"#{name}", TextSheet).blocks = blocks
        self.query_one(f"#{name}-pane", Pane).set_title(title, note)

    def table(self, state: ViewState) -> Table | None:
        return number_table(record_of(state.model, state)) if state.model is not None and state.claim_results else None

    # ---- keys -------------------------------------------------------------------------------------------

    def _offer(self) -> None:
        """Redraws the footer only where other keys work now, since redrawing it is slow."""
        offered = tuple(self.check_action(action, ()) for action in ("test", "figure"))
        if offered != self._offered:
            self._offered = offered
            self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Claims are tested if the model has a tokenizer, one request at a time."""
        if action in ("test", "test_all"):
            state = self._state
            return (state is not None and not state.claims_queued and not lacking(state.model)) or None
        if action == "figure":
            drawn = figures(self._state.claim_results.get(self._chosen)) if self._state else []
            return len(drawn) > (0 if self.is_folded else 1) or None
        if action == "claim":
            return not isinstance(self.screen.focused, ClaimList)  # there, arrows do it
        return True

    def action_test(self) -> None:
        self._test((self._experiment,))

    def action_test_all(self) -> None:
        if self._state is not None:
            self._test(self._untested(self._state) or self._experiments)
            self._tests_all = True

    def action_figure(self, step: int) -> None:
        """Shows another figure of the chosen claim, and the pane of figures where panes are folded."""
        if self._state is not None and (drawn := figures(self._state.claim_results.get(self._chosen))):
            is_shown = not self.is_folded or self.query_one("#figure-pane").display
            self._at_figure = (self._at_figure + step) % len(drawn) if is_shown else self._at_figure
            self._show_pane("figure")
            self.draw(self._state)

    def action_claim(self, step: int) -> None:
        keys = [one.key for one in self._experiments]
        self._choose(keys[(keys.index(self._experiment.key) + step) % len(keys)])

    def on_claim_list_chosen(self, message: ClaimList.Chosen) -> None:
        message.stop()
        self._choose(message.key)

    def on_figure_read(self, message: Figure.Read) -> None:
        message.stop()
        self.query_one("#figure-pane", Pane).note(message.text)

    def _choose(self, key: str) -> None:
        if key != self._chosen and self._state is not None:
            self._chosen, self._at_figure = key, 0
            with self.app.batch_update():
                self.draw(self._state)

    def _test(self, experiments: Sequence[Experiment]) -> None:
        self._tests_all = False
        self.post_message(JobRequested(RunClaimTests(tuple(experiments))))

    def _untested(self, state: ViewState) -> tuple[Experiment, ...]:
        return tuple(one for one in self._experiments if one.key not in state.claim_results)

    # ---- panes ------------------------------------------------------------------------------------------

    def _show_pane(self, name: str) -> None:
        """Shows a pane, and moves the keyboard focus to it if the view has it."""
        if self.is_folded:
            self.pane = name
            if self.has_focus_within:
                self.focus_pane()

    def watch_pane(self, pane: str) -> None:
        """The claims and the last current pane are side by side."""
        super().watch_pane(pane)
        self._aside = pane if pane != "claims" else self._aside
        for name in self.tabs:
            self.query_one(f"#{name}-pane").set_class(name == self._aside, "aside")

    def make_room(self, size: Size) -> None:
        self.set_class(size.width >= BESIDE, "beside")

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if self.query_one(Figure) in event.widget.ancestors:
            self.pane = "figure"


def _sample_note(state: ViewState) -> str:
    """How many tokens of the text the UI reads, where `edge lab` reads more."""
    spec = None if state.model is None else state.model.spec
    if spec is None or read_tokens(spec) == max_passage_tokens(spec):
        return ""
    return f"{read_tokens(spec):,} tokens of text; edge lab uses {max_passage_tokens(spec):,}"
