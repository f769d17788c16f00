"""The panel of every explorer: controls, a status line and a canvas, and what joins them."""

from __future__ import annotations

import base64
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from denseclip_viz.arguments import choose_paths
from denseclip_viz.canvas.snapshot import still_of
from denseclip_viz.canvas.widget import Canvas
from denseclip_viz.clip.dense_path import DensePath
from denseclip_viz.errors import PromptError
from denseclip_viz.explorers.compared_side import NOTHING, Answered, Choice, ComparedSide
from denseclip_viz.explorers.controls import Controls, Showing, sort_locks
from denseclip_viz.explorers.history import History, Run
from denseclip_viz.explorers.query import VALUE, ImageSource, Query, Result
from denseclip_viz.explorers.session import Session, attributions_of
from denseclip_viz.explorers.status import StatusLine
from denseclip_viz.explorers.thumbnails import Thumbnails
from denseclip_viz.explorers.worker import Report, Worker
from denseclip_viz.images import ImageLike
from denseclip_viz.model import Model
from denseclip_viz.prompts import Prompts
from denseclip_viz.trace import Trace

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class ExplorerSpec:
    """What makes one explorer another: name, controls, layers that are read too, and what stands below the canvas.

    `more` are rows of controls of its own, by the names that stand among its controls.
    """

    name: str
    controls: tuple[str, ...]
    layers: str = ""
    below: tuple[widgets.Widget, ...] = ()
    is_lab: bool = False  # the small maps below are what it is for, and stand beside the image
    show: Callable[[Panel], None] = lambda panel: None  # called when it shows another result, for what stands below
    still: Callable[[Panel], tuple[Figure, str]] | None = None  # for places without widgets; else the canvas alone
    more: Mapping[str, Sequence[widgets.Widget]] = field(default_factory=dict)
    compared: ComparedSide | None = None
    history: History | None = None


class Panel(widgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """An explorer: what `explore`, `template_lab` and `layer_lens` return. Change it by hand or from a cell.

    Attributes:
        canvas: The image with its maps.
        controls: The widgets of its controls, by name.
        shown: What is shown: query, comparison, segments, trace, model.
        status: The line that tells what is going on.
        history: Its runs, to go back and forward through; None where there is none.
        aside: For work beside it that a Run does not wait for.
    """

    def __init__(
        self,
        spec: ExplorerSpec,
        session: Session,
        result: Result,
        *,
        hidden: Sequence[str],
        locked: Sequence[str],
        other: Answered | None = None,
    ) -> None:
        self._spec, self._session, self.shown = spec, session, result
        self._showing, self._refined = Showing(), False
        self._image, self._unrefined = result.query.image, dict[str, Any]()
        self._compared, self.history = spec.compared, spec.history
        self.status, self.canvas, query = StatusLine(), Canvas(locked=list(locked)), result.query
        shown: dict[str, Any] = {"names": spec.controls, "hidden": hidden, "paths": query.paths, "more": spec.more}
        self.controls = Controls(query.prompts, session.names, status=self.status, **shown)
        self._lock = threading.RLock()
        self._worker = Worker(on_progress=self._report, on_error=self._give_up, on_idle=self._idle, lock=self._lock)
        self.aside = Worker(on_progress=lambda text, share: None, on_error=self._show_failure, lock=self._lock)
        below = widgets.HBox(list(spec.below))
        super().__init__([self._top(), below])
        self.add_class("dcv-explorer")
        if spec.is_lab:
            self.add_class("dcvx-lab")
        below.add_class("dcvx-below")
        self._show((result, other))
        self._listen()

    @property
    def result(self) -> Any:
        """What `Model.compare` returned for what is shown."""
        return self.shown.comparison

    @property
    def trace(self) -> Trace:
        """The trace that is shown."""
        return self.shown.trace

    @property
    def model(self) -> Model:
        """The model that made what is shown."""
        return self.shown.model

    @property
    def other(self) -> Result | None:
        """What stands beside it while it is compared: query, comparison, segments, trace, model."""
        return None if self._compared is None else self._compared.shown

    @property
    def busy(self) -> bool:
        """Whether something is running."""
        return self._worker.busy

    def run(self) -> None:
        """Look again, with what the controls say; as the Run button."""
        with self._lock:
            self._start(self._image)

    def look_at(self, image: ImageLike | ImageSource) -> None:
        """Look at another image, of any size.

        Args:
            image: A path, a PIL image, an array or a scene.
        """
        with self._lock:
            self._start(image if isinstance(image, ImageSource) else ImageSource(image))

    def stop(self) -> None:
        """Give up what is running; what was shown stays."""
        if self._worker.stop():
            self._image = self.shown.query.image
            self.controls.show(self.shown.query)
            if self._compared is not None:
                self._compared.restore()
            if self.history is not None:
                self.history.restore()
            self.status.show("stopped; what was there before is shown", "warning")

    def close(self) -> None:
        """Take the explorer down: stop its work, close every part, let go of trace and model."""
        self.stop()
        self.aside.stop()
        if self._compared is not None:
            self._compared.close()
        for row in self.controls.rows:
            for part in _parts(row):
                part.close()
        for part in _parts(self):
            super().close() if part is self else part.close()

    def link_thumbnails(self, thumbnails: Thumbnails, on_move: Callable[[], Any]) -> None:
        """Let thumbnails and canvas move together.

        Args:
            thumbnails: A click on one is shown on the canvas, and what the canvas shows is marked on them.
            on_move: Called when the canvas shows another prompt or template.
        """

        def moved(change: Any) -> None:
            thumbnails.current = change["new"]
            if not self._showing and any(change["new"][name] != change["old"][name] for name in ("prompt", "template")):
                on_move()

        thumbnails.current, thumbnails._link = self.canvas.state, uuid.uuid4().hex
        self.canvas._links = [*self.canvas._links, thumbnails._link]
        self.canvas.observe(self.safe_callback(moved), "state")

    def move_to(self, state: Mapping[str, Any]) -> None:
        """Show something else of the result, at both sides of a comparison: some names of the canvas' state."""
        self.canvas.state = dict(state)
        if self._compared is not None:
            self._compared.view.follow()

    def safe_callback(self, call: Callable[..., Any]) -> Callable[..., None]:
        """Wrap a callback: one at a time, and what it raises is shown."""

        def callback(*args: Any, **kwargs: Any) -> None:
            # JupyterLab lets callbacks of several widgets run in several threads
            with self._lock, self.status.errors_shown():
                call(*args, **kwargs)

        return callback

    def _top(self) -> widgets.Widget:
        side = widgets.VBox([self.controls.box])
        side.add_class("dcvx-side")
        top = widgets.HBox([side, self.canvas if self._compared is None else self._compared.open_on(self.canvas)])
        top.add_class("dcvx-top")
        return top

    def _listen(self) -> None:
        self.canvas.observe(self.safe_callback(self._moved), "state")
        self.controls.on_query(self.safe_callback(self.run))
        self.controls.stop.on_click(self.safe_callback(lambda _: self.stop()))
        self.controls.image.on_image(self._start, self.safe_callback)
        if self._compared is not None:
            self._compared.on_query(self.run, lambda: self.shown, self.safe_callback)
        if self.history is not None:
            self.history.on_return(self._return_to, self.safe_callback)

    def _return_to(self, run: Run) -> None:
        self._image = run.query.image
        self.controls.restore(run.query)
        if self._compared is not None:
            self._compared.choice = run.compared_with
        self._ask(run.query)

    def _moved(self, change: Any) -> None:
        if self.history is not None and not self._showing:
            self.history.leave(change["new"])
        self._tell_sent()

    def _start(self, image: ImageSource) -> None:
        self._image = image  # the next run is of it too, whatever comes of this one
        if self.history is not None:
            self.history.restore()
        self._ask(self.controls.query(image, layers=self._spec.layers))

    def _ask(self, query: Query) -> None:
        other = None if self._compared is None else self._compared.work(query)
        self.controls.stop.disabled = False
        self.status.show("looking", "busy")

        def work(report: Report) -> tuple[Result, Answered | None]:
            return self._session.run(query, report, adapts=True), other and other(report)

        self._worker.start(work, self.safe_callback(self._show))

    def _show(self, answers: tuple[Result, Answered | None]) -> None:
        result, other = answers
        with self._showing:  # what moves on the canvas now moves with the result
            self._draw(result, [] if self._compared is None else self._compared.take(other))
            if self._compared is not None:
                self._compared.show(result)
            self.shown = result
            self.controls.offer(attributions_of(result.model), result.query.attributions)
            self._record(NOTHING if other is None else other[0])
            self.controls.image.shown = result.query.image.name
            line = " ".join(filter(None, (result.warning, result.note)))
            self.status.show(line, "warning" if result.warning else "ok")
            self._spec.show(self)
        self._tell_sent()

    def _record(self, compared_with: Choice) -> None:
        if self.history is not None:
            left = self.history.record(self.shown.query, compared_with, self.canvas.state)
            if left is not None:
                self.move_to(left)

    def _tell_sent(self) -> None:
        """Say below the image what was sent, where that is not what was typed."""
        if self._showing:
            return
        sent = self.shown.sent(*(self.canvas.state[name] for name in ("template", "prompt")))
        self.canvas.status = " · ".join(filter(None, (sent, self.shown.status)))

    def _draw(self, result: Result, like: Sequence[xr.Dataset]) -> None:
        """Show refined segments alone on the canvas; behind them comes back what they had no place for."""
        refined, before = self._refined, self.canvas.state
        asked = result.query.attributions not in ((), self.shown.query.attributions)
        if result.segments is None:
            self.canvas.show(result.comparison, trace=result.trace, like=like)
            self._refined, choices = False, self.canvas.choices
            there = ((name, value, choices.get(name)) for name, value in self._unrefined.items())
            back = {name: value if value in offered else offered[0] for name, value, offered in there if offered}
            self.canvas.state = {"view": "attribution"} if asked else back if refined else {}
        else:
            self.canvas.show(result.segments, trace=result.trace)
            self._refined = True
            if not refined:
                offered = self.canvas.choices.items()
                self._unrefined = {name: before[name] for name, values in offered if before[name] not in values}

    def _report(self, text: str, share: float) -> None:
        self.status.show(text + " …", "busy", share)

    def _idle(self) -> None:
        self.controls.stop.disabled = True

    def _give_up(self, error: BaseException) -> None:
        if not isinstance(error, PromptError):  # another prompt may do for the image
            self._image = self.shown.query.image
        if self.history is not None:
            self.history.restore()
        self._show_failure(error)

    def _show_failure(self, error: BaseException) -> None:
        with self.status.errors_shown():
            raise error

    def __repr__(self) -> str:
        return f"{self._spec.name}({self.shown.status})"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """Return the widget, and a still image for places that show none."""
        data = super()._repr_mimebundle_(**options)
        if isinstance(data, dict) and (still := self._still_image(options)):
            data["image/png"] = still
        return data

    def _still_image(self, options: Mapping[str, Any]) -> str | None:
        if (draw := self._spec.still) is not None:
            return base64.b64encode(still_of(lambda: draw(self))).decode()
        bundle = self.canvas._repr_mimebundle_(**options)
        images: Mapping[str, str] = (bundle[0] if isinstance(bundle, tuple) else bundle) or {}
        return images.get("image/png")


def open_panel(
    spec: ExplorerSpec,
    session: Session,
    image: ImageLike,
    prompts: Prompts,
    *,
    lock: str | Sequence[str] = (),
    paths: str | Sequence[str | DensePath] = "value",
) -> Panel:
    """Take the first look, and open a panel on it; what is wrong with the arguments is raised here."""
    hidden, locked = sort_locks(lock, spec.controls)
    chosen = VALUE if paths == "value" else None if paths == "all" else choose_paths(paths)
    chosen = (chosen,) if isinstance(chosen, DensePath) else chosen
    query = Query(ImageSource(image), session.names[0], prompts, layers=spec.layers, paths=chosen)
    result, other = session.run(query, _say_nothing), None if spec.compared is None else spec.compared.work(query)
    answered = other and other(_say_nothing)
    if answered and isinstance(answered[1], Exception):
        raise answered[1]
    return Panel(spec, session, result, hidden=hidden, locked=locked, other=answered)


def _say_nothing(text: str, share: float) -> None:
    """Take a report that nobody sees."""


def _parts(widget: widgets.Widget) -> Iterator[widgets.Widget]:
    """List a widget and all its parts: one that is not closed lives as long as the kernel."""
    for child in (*getattr(widget, "children", ()), getattr(widget, "layout", None), getattr(widget, "style", None)):
        if isinstance(child, widgets.Widget):
            yield from _parts(child)
    yield widget
