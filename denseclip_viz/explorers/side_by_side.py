"""Two canvases that move together, side by side on one scale, and their difference where cells agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from denseclip_viz.canvas.linking import link
from denseclip_viz.canvas.state import CONTROLS
from denseclip_viz.canvas.widget import Canvas
from denseclip_viz.errors import DenseclipVizError
from denseclip_viz.explorers.query import Result
from denseclip_viz.explorers.status import StatusLine
from denseclip_viz.maps.difference import DIFFERENT, difference

if TYPE_CHECKING:
    import xarray as xr

FOLLOWED = ("view", "path")  # what another difference is drawn for
TWO_MODELS = "cosines of two models: compare where, not how high"
TWO_IMAGES = "cell by cell, of two images"


class SideBySide:
    """An explorer's canvas, and beside it, while it is compared, those of the other side and of the difference.

    Attributes:
        box: Holds them.
        left: The explorer's own canvas.
        canvas: The other side's.
        difference: That of the difference.
        line: Says at the other side what is wrong there.
        parts: What stands beside the explorer's canvas; nothing before the first comparison.
    """

    def __init__(self, left: Canvas) -> None:
        self.left, self.box = left, widgets.Box([left])
        self.box.add_class("dcvx-stage")
        left.add_class("dcvx-column-0")  # now: a view that is there already would not hear of it
        self.parts: list[widgets.Widget] = []
        self._sides: tuple[Result, Result] | None = None
        self._drawn: tuple[Any, ...] = ()

    def show(
        self, left: Result, right: Result | None, titles: Sequence[str], *, error: Exception | None = None
    ) -> None:
        """Show the other side's last result beside the left, which is drawn already, and what it raised since then."""
        if not self.parts:
            self._make_parts()
        for head, text in zip(self._heads, titles, strict=False):
            head.value = text
        self._sides, self._drawn = None if right is None else (left, right), ()
        if right is not None:
            self._show_right(left, right)
        self._tell(right, error)
        self._show_difference()
        self.box.children = [self.left, *self.parts]
        self.box.add_class("dcvx-pair")

    def close(self) -> None:
        """Show the left alone."""
        self._sides = None
        self.box.children = [self.left]
        self.box.remove_class("dcvx-pair")

    def follow(self) -> None:
        """Let the others show what the left does, after it was changed from Python."""
        if self._sides is not None:
            self.canvas.follow(self.left)
            self._follow_difference()

    def _make_parts(self) -> None:
        linked = [name for name in CONTROLS if name not in ("keep", "threshold") or name in self.left.locked]
        self.line, self._heads = StatusLine(), [widgets.Label() for _ in range(3)]
        self.canvas, self.difference = Canvas(still=False), Canvas(still=False, locked=linked)
        link(self.left, self.canvas, self.difference, one_scale=False)
        first, second, last = self._heads
        columns = [[first], [second, self.canvas, self.line], [last, self.difference]]
        for number, column in enumerate(columns):
            for part in column:
                part.add_class(f"dcvx-column-{number}")
        self.parts = [part for column in columns for part in column]
        for canvas in (self.left, self.canvas):
            canvas.observe(self._moved, "state")

    def _show_right(self, left: Result, right: Result) -> None:
        shown = right.comparison if right.segments is None else right.segments
        self.canvas.show(shown, trace=right.trace, like=[left.comparison])
        self.canvas.status = right.status
        self.canvas.follow(self.left)
        ours, theirs = self.left.choices, self.canvas.choices
        shared = [name for name in CONTROLS if name != "keep" and ours.get(name) == theirs.get(name)]
        # what is chosen at the left moves both; names that the two do not share are chosen at each
        self.canvas.locked = list(dict.fromkeys([*shared, *self.left.locked]))

    def _moved(self, change: Any) -> None:
        if any(change["new"][name] != change["old"][name] for name in FOLLOWED):
            self._show_difference()

    def _show_difference(self) -> None:
        if self._sides is None:
            return self._say_none("")
        of = self.left.state["view"] if self.left.state["view"] in DIFFERENT else DIFFERENT[0]
        drawn = of, self.left.state["path"], self.canvas.state["path"]
        if drawn == self._drawn:
            return None
        self._drawn, (left, right) = drawn, self._sides
        try:
            apart = difference(_along(left, self.left), _along(right, self.canvas), of=of)
        except DenseclipVizError as error:
            return self._say_none(f"no difference: {error.got[0].lower()}{error.got[1:]}")
        if not apart["difference"].any():
            return self._say_none(f"no difference: {of} is the same at both sides")
        self.difference.show(apart)
        self._follow_difference()
        self._say(f"difference of {of}: right minus left")
        self._make_room(True)
        return None

    def _follow_difference(self) -> None:
        self.difference.follow(self.left)
        self.difference.state = {"versus": None}  # it is a difference already

    def _say_none(self, why: str) -> None:
        self._say(why)
        self._make_room(False)

    def _make_room(self, is_apart: bool) -> None:
        """Give the difference a column where there is one: its remark alone needs no third of the width."""
        self.difference.layout.display = "" if is_apart else "none"
        (self.box.add_class if is_apart else self.box.remove_class)("dcvx-apart")

    def _say(self, line: str) -> None:
        self._heads[-1].value = " · ".join(filter(None, [line, *_remarks(self._sides)]))

    def _tell(self, right: Result | None, error: Exception | None) -> None:
        warning = "" if right is None else right.warning
        self.line.show(warning, "warning" if warning else "ok")
        with self.line.errors_shown():
            if error is not None:
                raise error


def _remarks(sides: tuple[Result, Result] | None) -> list[str]:
    if sides is None:
        return []
    left, right = sides
    models = {side.trace.provenance.get("weights_hash") for side in sides}
    is_one_image = left.query.image is right.query.image
    return [TWO_MODELS] * (len(models) > 1) + [TWO_IMAGES] * (not is_one_image)


def _along(side: Result, canvas: Canvas) -> xr.Dataset:
    """Take of a comparison the path that a canvas shows."""
    both, path = side.comparison, canvas.state["path"]
    if "path" not in both.dims:
        return both
    shown: xr.Dataset = both.sel(path=path) if path in both["path"] else both.isel(path=0)
    return shown  # refined segments, which offer no path, are along the first
