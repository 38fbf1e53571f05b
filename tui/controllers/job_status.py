"""What the current job is doing, as the header, the token strip, the prompt and the views show it."""

from tui import messages
from tui.controllers.session import Session
from tui.controllers.state_screen import StateScreen
from tui.jobs.run import invitation
from tui.views.view import View
from tui.widgets.frame.header_bar import HeaderBar
from tui.widgets.frame.prompt_box import PromptBox
from tui.widgets.frame.token_strip import TokenStrip

FIRST_STEPS = "type a prompt above and press enter\n\n? explains the current pane, ctrl+p lists all commands"


class JobStatus:
    """Shows progress, streamed tokens, and what to do before the first run.

    Attributes:
        progress: What the current job is doing; empty when idle.
        can_stop: Whether it can be stopped.
    """

    def __init__(self, screen: StateScreen, session: Session) -> None:
        self._screen, self._session = screen, session
        self.progress, self.can_stop = "", False

    def report(self, message: messages.JobProgress) -> None:
        """Shows what the current job is doing."""
        self.progress, self.can_stop = message.work, message.can_stop
        self._screen.query_one(HeaderBar).progress = message.work
        for view in self._screen.query(View):
            view.show_progress(message.work)
        self._screen.refresh_bindings()

    def stream(self, message: messages.Streaming, view: View) -> None:
        """Shows the tokens of a run that is not done."""
        strip = self._screen.query_one(TokenStrip)
        if strip.chosen is not None or strip.notice:
            self.show_notice("running …")
        strip.notice, strip.chosen = "", None
        strip.prompt_length, strip.pieces = message.prompt_length, message.pieces
        self._screen.query_one(HeaderBar).live = message
        view.show_live(message)

    def settle(self) -> None:
        """Shows what to do next after a job that failed or was stopped, or before the first one."""
        if self._screen.state.main is None:
            self.show_notice(FIRST_STEPS)
            self._screen.query_one(TokenStrip).notice = "no run yet"
        self.hint()

    def show_notice(self, notice: str) -> None:
        """Shows the same message in every view that needs a run."""
        for view in self._screen.query(View):
            if view.needs_run:
                view.show_notice(notice)

    def hint(self) -> None:
        """Shows in the prompt what to type, and how much memory a run will take."""
        box = self._screen.query_one(PromptBox)
        box.disabled = self._session.target is None
        if self._session.target is None:
            box.set_hint("this is a saved trace; open a model with o to run prompts", "")
        else:
            box.set_hint(*invitation(self._screen.state.model, self._screen.state.options))
