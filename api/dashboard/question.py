"""Confirmation dialog for actions that delete something or change a job."""

from nicegui import ui


async def is_sure(title: str, text: str, *, yes: str) -> bool:
    """Returns True if the user confirmed."""
    with ui.dialog() as dialog, ui.card().classes("question"):
        ui.label(title).classes("heading wrap")
        ui.label(text)
        with ui.row().classes("answers"):
            ui.button("No", on_click=lambda: dialog.submit(False)).props("flat no-caps")
            ui.button(yes, on_click=lambda: dialog.submit(True)).props("unelevated no-caps")
    answer = await dialog
    if not dialog.is_deleted:  # closing the tab deletes it
        dialog.delete()
    return bool(answer)
