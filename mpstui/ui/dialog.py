"""The base of dialogs."""

from __future__ import annotations

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen, ScreenResultType
from typing_extensions import override

from .guard import Guarded


class Dialog(Guarded, ModalScreen[ScreenResultType]):
    """A dialog that is answered once, although a second key or click may come before it is gone."""

    @override
    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """Dismiss the dialog, if it is still on top."""
        if self.app.screen is not self:
            return AwaitComplete()
        return super().dismiss(result)
