"""What an explorer was asked before: back and forward through its runs, each as it was left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
import numpy as np
from PIL import Image

from denseclip_viz.explorers.compared_side import KINDS, Choice, title
from denseclip_viz.explorers.controls import Showing, choice
from denseclip_viz.explorers.query import VALUE, ImageSource, Query
from denseclip_viz.explorers.typed_prompts import TEMPLATE_CHOICES, template_title

MOST = 30  # runs
BYTES = 64e6  # of the images that they hold
LONGEST = 24  # characters of a name in the list


@dataclass(eq=False)
class Run:
    """What was asked, what it was compared with, and the state in which its canvas was left."""

    query: Query
    compared_with: Choice
    state: dict[str, Any]

    @property
    def name(self) -> str:
        """Say in one line what it shows, and what of it is not as an explorer begins."""
        query, kind = self.query, self.compared_with[0]
        names = query.prompts.named(absent=False)
        templates = template_title(query.prompts.templates)
        more = f" and {len(names) - 2} more" if len(names) > 2 else ""
        parts = [
            _short(title("image", query)),
            ", ".join(map(_short, names[:2])) + more,
            query.model,
            query.fit * (query.geometry != "native"),
            templates * (templates != TEMPLATE_CHOICES[0][0]),
            title("path", query) * (query.paths != VALUE),
            ", ".join(("all attributions",) if query.attributions is None else query.attributions),
            " and ".join(["smoothed"] * query.smooth + ["denoised"] * query.denoise),
            f"with {KINDS[kind]}" * bool(kind),
        ]
        return " · ".join(filter(None, parts))

    def is_like(self, other: Run) -> bool:
        """Tell whether the same was asked."""
        return vars(self.query) == vars(other.query) and self.compared_with == other.compared_with


class History:
    """The last runs of an explorer: at most 30, and of their images at most 64 MB but for the newest.

    Attributes:
        rows: Its controls.
        runs: The oldest first.
        at: Which of them is shown.
    """

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.at, self._showing = -1, Showing()
        self._awaited: Run | None = None
        self.back = widgets.Button(description="back", tooltip="show what was there before", disabled=True)
        self.forward = widgets.Button(description="forward", tooltip="show what came after it", disabled=True)
        self.list = choice("runs", [("none yet", -1)], -1)
        buttons = widgets.HBox([widgets.Label("history"), self.back, self.forward])
        for name in ("dcvx-row", "dcvx-steps"):
            buttons.add_class(name)
        self.rows = [buttons, self.list]

    def record(self, query: Query, compared_with: Choice, state: Mapping[str, Any]) -> dict[str, Any] | None:
        """Add a run that is shown, or go to the one that was returned to, and give the state in which it was left."""
        awaited, self._awaited = self._awaited, None
        if awaited is not None and awaited.query is query and awaited in self.runs:
            self.at = self.runs.index(awaited)
            self._show()
            return awaited.state
        run = Run(query, compared_with, dict(state))
        again = 0 <= self.at and run.is_like(self.runs[self.at])
        self.runs[self.at + (not again) :] = [run]
        while len(self.runs) > MOST or (len(self.runs) > 1 and _held(self.runs) > BYTES):
            del self.runs[0]
        self.at = len(self.runs) - 1
        self._show()
        return None

    def leave(self, state: Mapping[str, Any]) -> None:
        """Take the state of the canvas, in which its run is found again."""
        if self.runs:
            self.runs[self.at].state = dict(state)

    def on_return(self, ask: Callable[[Run], None], safe: Callable[..., Any]) -> None:
        """Call back when another run is to be shown again."""

        def go(at: int) -> None:
            if not self._showing and at != self._next and 0 <= at < len(self.runs):
                self._awaited = self.runs[at]
                ask(self._awaited)

        self.back.on_click(safe(lambda _: go(self._next - 1)))
        self.forward.on_click(safe(lambda _: go(self._next + 1)))
        self.list.observe(safe(lambda change: go(change["new"])), "value")

    @property
    def _next(self) -> int:
        """Which run will be shown: that which was returned to last, though its answer is still to come."""
        return self.runs.index(self._awaited) if self._awaited in self.runs else self.at

    def restore(self) -> None:
        """Say again which run is shown."""
        self._awaited = None
        self._show()

    def _show(self) -> None:
        with self._showing:
            options = [(f"{at + 1}: {run.name}", at) for at, run in enumerate(self.runs)]
            if list(self.list.options) != options:
                self.list.options = options
            self.list.value = self.at
        self.back.disabled, self.forward.disabled = self.at < 1, self.at == len(self.runs) - 1


def _held(runs: list[Run]) -> float:
    return sum(map(_size, {id(run.query.image): run.query.image for run in runs}.values()))


def _size(image: ImageSource) -> int:
    source: Any = getattr(image.source, "image", image.source)  # of a scene
    if isinstance(source, Image.Image):
        return source.width * source.height * len(source.getbands())
    return len(source) if isinstance(source, bytes) else source.nbytes if isinstance(source, np.ndarray) else 0


def _short(name: str) -> str:
    line = " ".join(name.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
