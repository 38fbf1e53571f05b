"""Lab: claims about attention and the FFN, tried on the model at hand, with what was found and its pictures."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget

from edge.commands.lab import number_table
from edge.commands.tables import Table
from edge.lab.claim import Curve, Experiment
from edge.lab.claim import Grid as Numbers
from edge.lab.contrast import contrast
from edge.lab.run import LabRecord, Tried
from edge.picture.units import show_time
from tui.jobs.job import Wanted
from tui.jobs.lab import TryClaims, known_experiments, read_tokens
from tui.sight import Facts, Sight
from tui.views.view import View
from tui.widgets import sheet
from tui.widgets.claim_list import MARKS, ClaimList, Standing
from tui.widgets.figure import Figure
from tui.widgets.pane import Pane
from tui.widgets.sheet import Block, Sheet, Words

BESIDE = 104
"""Cells with which the claims stay beside the one other pane that has room."""

_TITLED = 8
_SIDES = 11


class LabView(View):
    """Lab: every claim, and of the chosen one what it asks, what was found and the figures behind it."""

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
        Binding("enter,space", "try", "try", key_display="⏎", tooltip="Try the chosen claim on this model"),
        Binding("a", "try_all", "try all", tooltip="Try every claim not yet tried, or all again"),
        Binding("f", "figure(1)", "figure", tooltip="Show the next figure of the chosen claim"),
        Binding("b", "figure(-1)", "figure before", show=False, tooltip="Show the figure before"),
        Binding("x", "claim(1)", "claim", tooltip="Choose the next claim, from any pane"),
        Binding("z", "claim(-1)", "claim before", show=False, tooltip="Choose the claim before, from any pane"),
    ]

    title = "Lab"
    tabs: ClassVar[dict[str, str]] = {
        "claims": "claims",
        "about": "about",
        "found": "found",
        "figure": "figure",
        "contrast": "attention beside FFN",
    }
    roomy = (150, 30)
    shows = "lab's own texts"
    needs_run = False

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._chosen, self._at_figure, self._aside = "", 0, "about"
        self._sight: Sight | None = None
        self._drawn: tuple[object, ...] = ()
        self._offered: tuple[object, ...] = ()
        self._tries_all = False

    def compose_panes(self) -> Iterator[Widget]:
        yield Pane("claims", "claims", ClaimList(id="claims"))
        yield Pane("about", "about", Sheet(id="about"))
        yield Pane("found", "found", Sheet(id="found"))
        yield Pane("contrast", "attention beside FFN", Sheet(id="contrast"))
        yield Pane("figure", "figure", Figure(id="figure"))

    @property
    def _experiments(self) -> tuple[Experiment, ...]:
        return known_experiments()

    @property
    def _experiment(self) -> Experiment:
        """The chosen claim."""
        return next((one for one in self._experiments if one.key == self._chosen), self._experiments[0])

    # ---- drawing ----------------------------------------------------------------------------------------

    def draw(self, sight: Sight) -> None:
        self._sight, self._chosen = sight, self._experiment.key
        new = (sight.facts, sight.tried, sight.trying, self._chosen, self._at_figure)
        if len(self._drawn) == len(new) and all(one is other for one, other in zip(new, self._drawn, strict=True)):
            return
        ended = bool(self._drawn) and bool(self._drawn[2]) and not sight.trying
        self._drawn = new
        tried = sight.tried.get(self._chosen)
        self._draw_claims(sight)
        self._draw_about(tried)
        self._draw_found(sight, tried)
        self._draw_figure(sight, tried)
        self._draw_contrast(sight)
        self._offer()
        if ended and self._tries_all:
            self._tries_all = False
            if not self._untried(sight):
                self._show_pane("contrast")

    def _draw_claims(self, sight: Sight) -> None:
        claims = self.query_one(ClaimList)
        claims.standings = tuple(
            Standing(one, sight.tried.get(one.key), sight.trying.index(one.key) if one.key in sight.trying else None)
            for one in self._experiments
        )
        claims.chosen = self._chosen
        verdicts = [one.finding.verdict for one in sight.tried.values()]
        counts = (
            f"{mark} {verdicts.count(verdict)} {verdict}" for verdict, mark in MARKS.items() if verdict in verdicts
        )
        note = ", ".join(counts) or "none tried yet"
        self.query_one("#claims-pane", Pane).entitle("", note)

    def _draw_about(self, tried: Tried | None) -> None:
        one = self._experiment
        told = {"asks": one.asks, "how": one.how, "rule": one.rule, "source": one.source}
        if tried is not None:
            fed = f"{tried.cost_tokens:,} tokens fed beyond the text, {show_time(tried.took_s * 1e9)}"
            told["cost"] = fed
        self._fill("about", (Words(one.claim, look="first"), *_titled(told, _TITLED)), one.key)

    def _draw_found(self, sight: Sight, tried: Tried | None) -> None:
        found = self.query_one("#found", Sheet)
        found.notice = "" if tried else self._awaited(sight)
        if tried is None:
            self._fill("found", (), self._chosen)
            return
        finding = tried.finding
        blocks: list[Block] = [Words(finding.says)]
        if finding.numbers:
            blocks.append(sheet.Numbers(finding.numbers))
        self._fill("found", tuple(blocks), f"{tried.key} {MARKS[finding.verdict]} {finding.verdict}")

    def _draw_figure(self, sight: Sight, tried: Tried | None) -> None:
        figure, pane = self.query_one(Figure), self.query_one("#figure-pane", Pane)
        figures = _figures(tried)
        shown = figures[self._at_figure % len(figures)] if figures else None
        figure.shown = shown
        if shown is None:
            figure.explain(f"{self._chosen} has no figures" if tried else self._awaited(sight))
            pane.entitle("")
        else:
            place = f"{self._at_figure % len(figures) + 1} of {len(figures)}"
            pane.entitle(f"{self._chosen} · {place} · {shown.title}", figure.told)

    def _draw_contrast(self, sight: Sight) -> None:
        facts = sight.facts
        told = self.query_one("#contrast", Sheet)
        told.notice = "" if sight.tried else "this fills as claims are tried; a tries all"
        if facts is None or not sight.tried:
            self._fill("contrast", (), "")
            return
        blocks: list[Block] = []
        for aspect in contrast(_record(facts, sight)):
            blocks.append(Words(aspect.name, look="first"))
            blocks += _titled({"attention": aspect.attention, "FFN": aspect.ffn}, _SIDES)
        missing = len(self._untried(sight))
        self._fill("contrast", tuple(blocks), f"– stands for what {missing} claims would tell" if missing else "")

    def _fill(self, name: str, blocks: tuple[Block, ...], title: str) -> None:
        self.query_one(f"#{name}", Sheet).blocks = blocks
        self.query_one(f"#{name}-pane", Pane).entitle(title)

    def _awaited(self, sight: Sight) -> str:
        """Why nothing is found yet, and what to do."""
        facts = sight.facts
        if self._chosen in sight.trying:
            before = sight.trying.index(self._chosen)
            return f"waits for {before} other claims; escape stops" if before else "trying …\n\nescape stops"
        if (lacking := _lacking(facts)) or facts is None:
            return lacking
        return (
            f"{self._chosen} was not tried on this model yet\n\nenter tries it, a tries all\n\n"
            f"{read_tokens(facts.spec):,} tokens of Edge's own text are read for all claims together"
        )

    def table(self, sight: Sight) -> Table | None:
        return number_table(_record(sight.facts, sight)) if sight.facts is not None and sight.tried else None

    # ---- keys -------------------------------------------------------------------------------------------

    def _offer(self) -> None:
        """Brings the footer up to date where other keys work now; to draw it anew takes as long as the rest."""
        offered = tuple(self.check_action(action, ()) for action in ("try", "figure"))
        if offered != self._offered:
            self._offered = offered
            self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Claims are tried where there is a model that can read, one wish at a time."""
        if action in ("try", "try_all"):
            sight = self._sight
            return (sight is not None and not sight.trying and not _lacking(sight.facts)) or None
        if action == "figure":
            return (self._sight is not None and len(_figures(self._sight.tried.get(self._chosen))) > 1) or None
        if action == "claim":
            return not isinstance(self.screen.focused, ClaimList)  # there, arrows do it
        return True

    def action_try(self) -> None:
        self._try((self._experiment,))

    def action_try_all(self) -> None:
        if self._sight is not None:
            self._try(self._untried(self._sight) or self._experiments)
            self._tries_all = True

    def action_figure(self, step: int) -> None:
        """Another figure of the chosen claim; where panes fold, the pane of figures comes with it."""
        if self._sight is not None and (figures := _figures(self._sight.tried.get(self._chosen))):
            is_shown = not self.is_folded or self.query_one("#figure-pane").display
            self._at_figure = (self._at_figure + step) % len(figures) if is_shown else self._at_figure
            self._show_pane("figure")
            self.draw(self._sight)

    def action_claim(self, step: int) -> None:
        keys = [one.key for one in self._experiments]
        self._choose(keys[(keys.index(self._experiment.key) + step) % len(keys)])

    def on_claim_list_chosen(self, message: ClaimList.Chosen) -> None:
        message.stop()
        self._choose(message.key)

    def on_figure_read(self, message: Figure.Read) -> None:
        message.stop()
        self.query_one("#figure-pane", Pane).border_subtitle = Content(message.text)

    def _choose(self, key: str) -> None:
        if key != self._chosen and self._sight is not None:
            self._chosen, self._at_figure = key, 0
            with self.app.batch_update():
                self.draw(self._sight)

    def _try(self, experiments: Sequence[Experiment]) -> None:
        self._tries_all = False
        self.post_message(Wanted(TryClaims(tuple(experiments))))

    def _untried(self, sight: Sight) -> tuple[Experiment, ...]:
        return tuple(one for one in self._experiments if one.key not in sight.tried)

    # ---- panes ------------------------------------------------------------------------------------------

    def _show_pane(self, name: str) -> None:
        """Brings a pane up, and the keys to it if this view has them."""
        if self.is_folded:
            self.pane = name
            if self.has_focus_within:
                self.focus_pane()

    def watch_pane(self, pane: str) -> None:
        """The claims stand beside the pane that was at hand last."""
        super().watch_pane(pane)
        self._aside = pane if pane != "claims" else self._aside
        for name in self.tabs:
            self.query_one(f"#{name}-pane").set_class(name == self._aside, "aside")

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.width >= BESIDE, "beside")

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if self.query_one(Figure) in event.widget.ancestors:
            self.pane = "figure"


def _titled(told: dict[str, str], cells: int) -> list[Words]:
    return [Words(text, title, cells) for title, text in told.items() if text]


def _figures(tried: Tried | None) -> list[Curve | Numbers]:
    return list(chain(tried.finding.curves, tried.finding.grids)) if tried else []


def _record(facts: Facts, sight: Sight) -> LabRecord:
    """What was tried, as the lab keeps it."""
    return LabRecord(
        model=facts.name,
        engine=facts.engine,
        versions={},
        source="built in",
        passage_tokens=read_tokens(facts.spec),
        tried=tuple(sight.tried.values()),
    )


def _lacking(facts: Facts | None) -> str:
    """Why no claim can be tried, and the way out; empty where they can."""
    if facts is None:
        return "no model is loaded yet"
    if not facts.source:
        return (
            "a saved trace has no model to try claims on; open one with 'o'\n\n"
            "edge lab MODEL --json > lab.json tries them all,\nedge report TRACE --lab lab.json draws them on a page"
        )
    if not facts.reads_text:
        return "this model has no tokenizer, so it cannot read the texts of the lab\n\nput its tokenizer.json beside it"
    return ""
