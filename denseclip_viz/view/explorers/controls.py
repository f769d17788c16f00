"""The controls that need the model: their widgets, what is typed into them, and which of them a teacher has locked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets

from denseclip_viz.errors import PromptError
from denseclip_viz.prompts import Prompts
from denseclip_viz.prompts.strings import short
from denseclip_viz.view.canvas.state import CONTROLS as CANVAS_CONTROLS
from denseclip_viz.view.explorers.asking import OWN, TEMPLATE_CHOICES, asked, choice_of, typed
from denseclip_viz.view.explorers.bench import Picture, Question
from denseclip_viz.view.explorers.notice import Upload

TEXTS = ("prompts", "absent", "templates")  # what every explorer has
GEOMETRIES = (
    ("the model's own crop", "native"),
    ("the whole picture", "whole"),
    ("tiles, finer cells", "tiles"),
)
LABEL = "68px"
LATE = 2.0  # seconds


@dataclass(frozen=True)
class Locked:
    """Which controls are not shown: those beside the canvas, and those of the canvas itself."""

    beside: tuple[str, ...]
    canvas: tuple[str, ...]


def locked(names: str | Sequence[str], there: Sequence[str]) -> Locked:
    """Sort out the names of locked controls.

    Args:
        names: As given: the name of a control, or several.
        there: The controls that this explorer has beside the canvas.

    Raises:
        PromptError: A name that neither explorer nor canvas has; the message lists what there is.

    Example:
        >>> locked(["prompts", "opacity"], there=["prompts", "model"])
        Locked(beside=('prompts',), canvas=('opacity',))
    """
    if not isinstance(names, Sequence):
        came = f"lock={names!r}"
        raise PromptError(came, expected="names of controls", fix='Write lock=["model", "picture"], say.')
    asked_for = [names] if isinstance(names, str) else list(names)
    unknown = [name for name in asked_for if name not in there and name not in CANVAS_CONTROLS]
    if unknown:
        expected = f"some of {', '.join(there)}; on the canvas {', '.join(CANVAS_CONTROLS)}"
        came = f"There is no control {', '.join(map(short, unknown))} to lock"
        raise PromptError(came, expected=expected, fix="Leave it out, or name another.")
    beside = tuple(name for name in asked_for if name in there)
    return Locked(beside, tuple(name for name in asked_for if name in CANVAS_CONTROLS))


class Controls:
    """The widgets of an explorer, by name; all exist, and only those that are asked for are shown.

    Args:
        prompts: What they start with.
        models: The names of the models to choose from.
        names: The controls that this explorer has.
        hidden: Those of them that are locked.

    Attributes:
        box: Those that are shown, each in a row.
        every: All rows, shown or not.
    """

    def __init__(self, prompts: Prompts, models: Sequence[str], *, names: Sequence[str], hidden: Sequence[str]) -> None:
        self._before, self._last, self._clicked = prompts, prompts.templates, float("-inf")
        present = [name for name, gone in zip(prompts.prompts, prompts.absent, strict=True) if not gone]
        absent = [name for name, gone in zip(prompts.prompts, prompts.absent, strict=True) if gone]
        chosen = choice_of(prompts.templates)
        lines = min(max(4, len(present)), 10)
        self.prompts = _area("prompts", typed(present or absent), "one a line; Enter looks again", rows=lines)
        self.absent = _area("absent", typed(absent), "what is surely not there: the baseline", rows=2)
        self.templates = _choice("templates", TEMPLATE_CHOICES, chosen)
        self.own = _area("", "\n".join(prompts.templates) if chosen == OWN else "", "a photo of {}.", rows=3)
        self.model = _choice("model", [(name, name) for name in models], models[0])
        self.geometry = _choice("fed as", GEOMETRIES, "native")
        self.smooth = _check("key smoothing", "positions with like keys share their segments")
        self.denoise = _check("prompt denoising", "prompts that are likely nowhere are left out")
        self.picture = Upload()
        self.run = widgets.Button(description="Run", tooltip="look again, with what is typed", button_style="primary")
        self.stop = widgets.Button(description="Stop", tooltip="give up what is running", disabled=True)
        for name, css in {"prompts": "text", "run": "run", "stop": "stop", "picture": "upload"}.items():
            getattr(self, name).add_class(f"dcv-{css}")
        rows = self._rows()
        shown = [name for name in names if name not in hidden and (name != "model" or len(models) > 1)]
        self._own_shown, self.every = "templates" in shown, [row for group in rows.values() for row in group]
        self.box = widgets.VBox([row for name in shown for row in rows[name]])
        self.box.add_class("dcvx-controls")
        self._show_own()

    def question(self, picture: Picture, *, layers: str = "") -> Question:
        """Read what the controls say.

        Raises:
            PromptError: What is typed cannot be used.
        """
        said = asked(
            self._before,
            prompts=self.prompts.value,
            absent=self.absent.value,
            templates=self.templates.value,
            own=self.own.value,
        )
        self._last = said.templates
        feeding: dict[str, Any] = {"model": self.model.value, "geometry": self.geometry.value, "layers": layers}
        return Question(picture, prompts=said, smooth=self.smooth.value, denoise=self.denoise.value, **feeding)

    def on_ask(self, call: Callable[[], None]) -> None:
        """Call back when something is to be looked at: Run, Enter in a text, another choice."""

        def clicked(_: Any) -> None:
            self._clicked = time.monotonic()
            call()

        def changed(change: Any) -> None:
            # to a busy kernel the browser sends a click at once, and the text that was typed before it later
            if _entered(change) or time.monotonic() - self._clicked < LATE:
                call()

        self.run.on_click(clicked)
        for text in (self.prompts, self.absent, self.own):
            text.observe(changed, "value")
        for choice in (self.model, self.geometry, self.smooth, self.denoise):
            choice.observe(lambda _: call(), "value")
        # the order counts: own templates start as what was chosen before, and are then asked for
        self.templates.observe(lambda _: self._start_own(), "value")
        self.templates.observe(lambda _: call(), "value")

    def _start_own(self) -> None:
        if self.templates.value == OWN and not self.own.value.strip():
            self.own.value = "\n".join(self._last)
        self._show_own()

    def _show_own(self) -> None:
        self.own.layout.display = "" if self._own_shown and self.templates.value == OWN else "none"

    def _rows(self) -> dict[str, list[widgets.Widget]]:
        buttons = widgets.HBox([self.run, self.stop])
        refine = widgets.HBox([widgets.Label("refine"), widgets.VBox([self.smooth, self.denoise])])
        upload = widgets.HBox([widgets.Label("picture"), self.picture])
        for row in (buttons, refine, upload):
            row.add_class("dcvx-row")
        buttons.add_class("dcvx-buttons")
        return {
            "prompts": [self.prompts],
            "absent": [self.absent],
            "templates": [self.templates, self.own],
            "model": [self.model],
            "picture": [upload],
            "geometry": [self.geometry],
            "refinement": [refine],
            "run": [buttons],
        }


def _entered(change: Any) -> bool:
    """Whether Enter was pressed, or lines were pasted; quick typing may bring more than that at once."""
    new, old = str(change["new"]), str(change["old"])
    return new.count("\n") > old.count("\n") or (new.endswith("\n") and not old.endswith("\n"))


def _area(label: str, text: str, hint: str, *, rows: int) -> widgets.Textarea:
    return widgets.Textarea(text, description=label, placeholder=hint, rows=rows, style=_style(), layout=_wide())


def _choice(label: str, options: Sequence[tuple[str, str]], value: str) -> widgets.Dropdown:
    return widgets.Dropdown(options=list(options), value=value, description=label, style=_style(), layout=_wide())


def _check(label: str, hint: str) -> widgets.Checkbox:
    return widgets.Checkbox(False, description=label, indent=False, tooltip=hint, layout=_wide())


def _style() -> dict[str, str]:
    return {"description_width": LABEL}


def _wide() -> widgets.Layout:
    return widgets.Layout(width="auto")
