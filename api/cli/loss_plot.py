"""Plots the loss of a job in the terminal, with axes."""

from collections.abc import Sequence

from rich.text import Text

from api.cli.braille import Canvas, Curve, Point, draw

_LABEL_WIDTH = 8
MIN_HEIGHT = 4
"""Minimum height, in lines, of a useful plot."""
TRAINING, VALIDATION = "cyan", "magenta"


def loss_plot(
    training: Sequence[Point], validation: Sequence[Point], *, canvas: Canvas
) -> list[Text]:
    """Returns `canvas.height` lines with the curves, the loss range, and the step range.

    Returns no lines for fewer than two points, or if the canvas is too small.
    """
    width = canvas.width - _LABEL_WIDTH - 2
    if canvas.height < MIN_HEIGHT or width < MIN_HEIGHT or len(training) < 2:
        return []
    curves = [Curve(training, TRAINING), Curve(validation, VALIDATION)]
    inside = Canvas(width, canvas.height - 1, canvas.is_ascii)
    losses = [loss for _, loss in (*training, *validation)]
    labels = {0: f"{max(losses):.3f}", inside.height - 1: f"{min(losses):.3f}"}
    edge = "|" if canvas.is_ascii else "│"
    lines = [
        Text.assemble((f"{labels.get(row, ''):>{_LABEL_WIDTH}} {edge}", "dim"), line)
        for row, line in enumerate(draw(curves, inside))
    ]
    steps = [step for step, _ in (*training, *validation)]
    first, last = f"{min(steps):.0f}", f"step {max(steps):.0f}"
    below = f"{first}{last:>{max(0, width - len(first))}}"
    return [*lines, Text(" " * (_LABEL_WIDTH + 2) + below, style="dim")]
