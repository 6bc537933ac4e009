"""One answer on a page: its text as it comes, and what there is to say about it."""

from contextlib import aclosing
from dataclasses import replace

from nicegui import ui

from api.dashboard.asking import NO_ANSWER, Pieces
from api.dashboard.talk import Said
from api.dashboard.words import number
from flant5_train.serving.messages import Delta, Finished, Started

_BUG = "Something went wrong in the server, whose log says what."


class AnswerView:
    """All that is said stays text; nothing in it is rendered."""

    def __init__(self, title: str) -> None:
        self.said = Said()
        with ui.element("article").classes("said"):
            ui.label(title).classes("quiet one-line said-by")
            self._text = ui.label().classes("said-text wrap")
            self._waiting = ui.spinner("dots", size="24px")
            self._note = ui.label().classes("quiet")
            with ui.row().classes("verdict bad").props('role="alert"') as self._trouble:
                ui.icon("error")
                self._error = ui.label().classes("wrap")
        self._show(self.said, is_coming=True)

    def end(self, said: Said) -> None:
        """Nothing more comes."""
        self._show(said, is_coming=False)

    def stop(self) -> None:
        """The visitor wants no more of it."""
        self.end(replace(self.said, note="stopped"))

    async def follow(self, pieces: Pieces) -> None:
        """Shows the answer as it comes, or why there is none. When it is cancelled, so is the
        answer."""
        try:
            async with aclosing(pieces):
                await self._follow(pieces)
        except NO_ANSWER as error:
            self.end(replace(self.said, error=str(error)))
        except Exception:
            self.end(replace(self.said, error=_BUG))
            raise

    async def _follow(self, pieces: Pieces) -> None:
        left_out = ""
        async for piece in pieces:
            if isinstance(piece, Started) and piece.truncated_tokens:
                left_out = f" · its oldest {number(piece.truncated_tokens)} tokens were left out"
            elif isinstance(piece, Delta):
                self._show(replace(self.said, text=self.said.text + piece.text), is_coming=True)
            elif isinstance(piece, Finished):
                self.end(replace(self.said, note=_length(piece) + left_out))

    def _show(self, said: Said, *, is_coming: bool) -> None:
        self.said = said
        self._text.set_text(said.text)
        self._note.set_text(said.note)
        self._error.set_text(said.error)
        self._text.set_visibility(bool(said.text))
        self._waiting.set_visibility(is_coming)
        self._note.set_visibility(bool(said.note))
        self._trouble.set_visibility(bool(said.error))


def _length(finished: Finished) -> str:
    cut = ", then it was cut" if finished.reason == "length" else ""
    unit = "token" if finished.completion_tokens == 1 else "tokens"
    return f"{number(finished.completion_tokens)} {unit}{cut}"
