"""How a student learned: its loss, how many pixels it was given labels of, and how far it agrees with its teacher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from denseclip_viz.errors import LayerError
from denseclip_viz.plot.scales import PALETTE
from denseclip_viz.plot.sheet import BODY, FAINT, GREY, INK, LINE, MARGIN, TINY, Sheet
from denseclip_viz.plot.text import plain
from denseclip_viz.validation import many

if TYPE_CHECKING:
    from denseclip_viz.plus.student import Student

WIDTH, HEIGHT, GAP, LEFT, TOP = 5.4, 1.05, 0.62, 0.5, 0.75  # inches: of a panel, between panels, beside and above them
PANELS = {
    "loss": ("loss", "cross entropy, mean over labelled pixels"),
    "confident": ("labelled", "share of the open pixels that got a label"),
    "agreement": ("agreement", "share of the teacher's labels that the student gives too"),
}


def training_curves(student: Student, *, figure: Figure | None = None) -> Figure:
    """Draw a training step by step: every step faint, and the mean of fifty around it.

    Args:
        student: What `plus.train` returns.
        figure: An empty figure to draw into; its size is set.

    Returns:
        The figure: loss, labelled share and agreement above each other; a line where self-training begins.

    Raises:
        LayerError: A student without curves.

    Example:
        >>> import denseclip_viz as dcv, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     scenes = dcv.toyworld.dataset(2, size=64)
        ...     student = dcv.plus.train(dcv.load(), scenes, folder, steps=2, batch=1, crop=64)
        >>> len(dcv.plot.training_curves(student).axes)
        3
    """
    training: Any = getattr(student, "training", None)
    curves: dict[str, Any] = dict(training.get("curves", {})) if isinstance(training, Mapping) else {}
    if not curves or not curves["loss"]:
        got, fix = f"A {type(student).__name__} without curves", "Pass what plus.train returns."
        raise LayerError(got, expected="a student that was trained here", fix=fix)
    schedule, steps = training["settings"]["schedule"], len(curves["loss"])
    led = schedule["steps"] if schedule["guided"] is None else schedule["guided"]
    on = Sheet({**student.teacher, "path": schedule["path"]}, figure=figure)
    bottom = on.top + TOP + len(PANELS) * (HEIGHT + GAP)
    on.resize(MARGIN + LEFT + WIDTH + MARGIN, bottom + 2 * LINE + MARGIN)
    on.title("how the student learned")
    network, count = training["settings"]["network"].get("name", ""), training["settings"]["dataset"]["images"]
    on.note(MARGIN, on.top + 0.24, f"{network} · {many(steps, 'step')} of {schedule['batch']} · {many(count, 'image')}")
    for at, (name, (title, note)) in enumerate(PANELS.items()):
        top = on.top + TOP + at * (HEIGHT + GAP)
        on.write(MARGIN + LEFT, top - 0.22, title, size=BODY, weight="bold")
        on.note(MARGIN + LEFT + WIDTH, top - 0.2, note, align="right")
        _draw(on.place(MARGIN + LEFT, top, WIDTH, HEIGHT), np.array(curves[name], float), name, led)
    begins = f"Dashed: from step {led + 1} the student learns from its own labels." if led < steps else ""
    labels = {"none": "No human label was read.", "ignored": "Of labels, only ignored pixels were read."}
    on.footer(bottom - 0.1, " ".join(filter(None, [labels.get(schedule["labels"], ""), begins])))
    return on.figure


def _draw(ax: Axes, values: np.ndarray, name: str, led: int) -> None:
    """Draw one curve, with a few round values beside and below it."""
    steps, known = np.arange(1, len(values) + 1), np.isfinite(values)
    high = float(values[known].max(initial=0.0)) * 1.05 if name == "loss" else 1.0
    ax.set(xlim=(0.5, len(values) + 0.5), ylim=(0, high or 1.0))
    for value in MaxNLocator(3).tick_values(0, high or 1.0) if name == "loss" else (0.0, 0.5, 1.0):
        if 0 <= value <= (high or 1.0):
            ax.axhline(value, color=FAINT, linewidth=0.6, zorder=0)
            beside: Any = {"transform": ax.get_yaxis_transform(), "ha": "right", "va": "center"}
            ax.text(0, value, f"{value:g}  ", **beside, **plain(TINY, GREY))
    places = [step for step in MaxNLocator(5, integer=True).tick_values(1, len(values)) if 1 <= step <= len(values)]
    for step in places:
        text = many(round(step), "step") if step == places[-1] else f"{step:.0f}"
        side = "right" if step == places[-1] > 1 else "center"
        ax.text(step, -0.06 * (high or 1.0), text, ha=side, va="top", **plain(TINY, GREY))
    ax.plot(steps[known], values[known], color=PALETTE[0], alpha=0.3, linewidth=0.7, gid=name)
    look: Any = {"linewidth": 1.6, "marker": "o" if known.sum() == 1 else "", "markersize": 4, "clip_on": False}
    ax.plot(steps[known], smoothed(values[known]), color=PALETTE[0], gid=f"{name}, mean", **look)
    if led < len(values):
        ax.axvline(led + 0.5, color=INK, linewidth=0.8, linestyle="--", gid="self-training")


def smoothed(values: np.ndarray, most: int = 50) -> np.ndarray:
    """Average each value with those around it, fewer at the ends.

    Example:
        >>> smoothed(np.array([0.0, 3.0, 6.0, 9.0]), 3).tolist()
        [1.5, 3.0, 6.0, 7.5]
    """
    reach = most // 2
    sums = np.concatenate([[0.0], values.cumsum()])
    places = np.arange(len(values))
    first, last = np.maximum(places - reach, 0), np.minimum(places + reach + 1, len(values))
    means: np.ndarray = (sums[last] - sums[first]) / (last - first)
    return means
