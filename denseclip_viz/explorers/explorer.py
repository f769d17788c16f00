"""`explore`, and the panel of every explorer: controls, a status line and a canvas, and what joins them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets

from denseclip_viz.arguments import choose_paths
from denseclip_viz.canvas.widget import Canvas
from denseclip_viz.clip.dense_path import DensePath
from denseclip_viz.explorers.controls import TEXTS, Controls, sort_locks
from denseclip_viz.explorers.multiples import show_multiples
from denseclip_viz.explorers.query import VALUE, ImageSource, Query, Result
from denseclip_viz.explorers.session import Models, Session
from denseclip_viz.explorers.status import StatusLine
from denseclip_viz.explorers.thumbnails import Thumbnails
from denseclip_viz.explorers.worker import Worker
from denseclip_viz.images import ImageLike
from denseclip_viz.model import Model
from denseclip_viz.prompts import Named, Prompts
from denseclip_viz.toyworld.scenes import Scene
from denseclip_viz.toyworld.vocabulary import noun_phrase
from denseclip_viz.toyworld.world import scene
from denseclip_viz.trace import Trace

WORDS = "a large red taxi left of a limousine on a road"
ABSENT = ("whale", "castle", "penguin")  # the first that a scene does not hold is its baseline
EXPLORE = (*TEXTS, "model", "image", "geometry", "paths", "attributions", "refinement", "run")
ANYWHERE = ("a car", "a tree", "a house", "the sky")


@dataclass(frozen=True)
class ExplorerSpec:
    """What makes one explorer another: name, controls, layers that are read too, and what stands below the canvas."""

    name: str
    controls: tuple[str, ...]
    layers: str = ""
    below: tuple[widgets.Widget, ...] = ()
    is_lab: bool = False  # the small maps below are what it is for, and stand beside the image
    show: Callable[[Panel], None] = lambda panel: None  # called when it shows another result, for what stands below


class Panel(widgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """An explorer: what `explore`, `template_lab` and `layer_lens` return. Change it by hand or from a cell.

    Attributes:
        canvas: The image with its maps.
        controls: The widgets of its controls, by name.
        shown: What is shown: query, comparison, segments, trace, model.
        status: The line that tells what is going on.
        aside: For work beside it that a Run does not wait for.
    """

    def __init__(
        self, spec: ExplorerSpec, session: Session, result: Result, *, hidden: Sequence[str], locked: Sequence[str]
    ) -> None:
        self._spec, self._session, self.shown = spec, session, result
        self._showing, self._refined, self._view = False, False, "dense"
        query, shown = result.query, {"names": spec.controls, "hidden": hidden}
        self.controls = Controls(query.prompts, session.names, paths=query.paths, **shown)
        self.status, self.canvas = StatusLine(), Canvas(locked=list(locked))
        self._lock = threading.RLock()
        self._worker = Worker(
            on_progress=self._report, on_error=self._show_failure, on_idle=self._idle, lock=self._lock
        )
        self.aside = Worker(on_progress=lambda text, share: None, on_error=self._show_failure, lock=self._lock)
        below = widgets.HBox(list(spec.below))
        super().__init__([self._top(), below])
        self.add_class("dcv-explorer")
        if spec.is_lab:
            self.add_class("dcvx-lab")
        below.add_class("dcvx-below")
        self._show(result)
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
    def busy(self) -> bool:
        """Whether something is running."""
        return self._worker.busy

    def run(self) -> None:
        """Look again, with what the controls say; as the Run button."""
        with self._lock:
            self._start(self.shown.query.image)

    def look_at(self, image: ImageLike) -> None:
        """Look at another image, of any size.

        Args:
            image: A path, a PIL image, an array or a scene.
        """
        with self._lock:
            self._start(ImageSource(image))

    def stop(self) -> None:
        """Give up what is running; what was shown stays."""
        if self._worker.stop():
            self.controls.show(self.shown.query)
            self.status.show("stopped; what was there before is shown", "warning")

    def close(self) -> None:
        """Take the explorer down: stop its work, close every part, let go of trace and model."""
        self.stop()
        self.aside.stop()
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

        def chosen(change: Any) -> None:
            if change["new"]:
                self.canvas.state = change["new"]

        thumbnails.current = self.canvas.state
        self.canvas.observe(self.safe_callback(moved), "state")
        thumbnails.observe(self.safe_callback(chosen), "chosen")

    def safe_callback(self, call: Callable[..., Any]) -> Callable[..., None]:
        """Wrap a callback: one at a time, and what it raises is shown."""

        def callback(*args: Any, **kwargs: Any) -> None:
            # JupyterLab lets callbacks of several widgets run in several threads
            with self._lock, self.status.errors_shown():
                call(*args, **kwargs)

        return callback

    def _top(self) -> widgets.Widget:
        side = widgets.VBox([self.controls.box, self.status])
        side.add_class("dcvx-side")
        top = widgets.HBox([side, self.canvas])
        top.add_class("dcvx-top")
        return top

    def _listen(self) -> None:
        self.canvas.observe(self.safe_callback(lambda _: self._tell_sent()), "state")
        self.controls.on_query(self.safe_callback(self.run))
        self.controls.stop.on_click(self.safe_callback(lambda _: self.stop()))
        self.controls.image.observe(self.safe_callback(self._received), "content")
        self.controls.image.observe(self.safe_callback(self._refused), "refused")

    def _received(self, change: Any) -> None:
        if change["new"]:
            self._start(self.controls.image.take())

    def _refused(self, change: Any) -> None:
        raise self.controls.image.refusal()

    def _start(self, image: ImageSource) -> None:
        query = self.controls.query(image, layers=self._spec.layers)
        self.controls.stop.disabled = False
        self.status.show("looking", "busy")
        self._worker.start(lambda report: self._session.run(query, report), self.safe_callback(self._show))

    def _show(self, result: Result) -> None:
        self._showing = True  # what moves on the canvas now moves with the result
        try:
            self._draw(result)
            self.shown = result
            self.controls.image.shown = result.query.image.name
            line = " ".join(filter(None, (result.warning, result.note)))
            self.status.show(line, "warning" if result.warning else "ok")
            self._spec.show(self)
        finally:
            self._showing = False
        self._tell_sent()

    def _tell_sent(self) -> None:
        """Say below the image what was sent, where that is not what was typed."""
        if self._showing:
            return
        sent = self.shown.sent(*(self.canvas.state[name] for name in ("template", "prompt")))
        self.canvas.status = " · ".join(filter(None, (sent, self.shown.status)))

    def _draw(self, result: Result) -> None:
        """Show refined segments alone on the canvas; behind them the view comes back that was there before."""
        refined, view = self._refined, self.canvas.state["view"]
        asked = result.query.attributions not in ((), self.shown.query.attributions)
        if result.segments is None:
            self.canvas.show(result.comparison, trace=result.trace)
            self.canvas.state = {"view": "attribution"} if asked else {"view": self._view} if refined else {}
        else:
            self.canvas.show(result.segments, trace=result.trace)
            self._view = self._view if refined else view
        self._refined = result.segments is not None

    def _report(self, text: str, share: float) -> None:
        self.status.show(text + " …", "busy", share)

    def _idle(self) -> None:
        self.controls.stop.disabled = True

    def _show_failure(self, error: BaseException) -> None:
        with self.status.errors_shown():
            raise error

    def __repr__(self) -> str:
        return f"{self._spec.name}({self.shown.status})"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """Return the widget, and a still image for places that show none."""
        data = super()._repr_mimebundle_(**options)
        still = self.canvas._repr_mimebundle_(**options)
        images = still[0] if isinstance(still, tuple) else still
        if isinstance(data, dict) and images and "image/png" in images:
            data["image/png"] = images["image/png"]
        return data


def explore(
    model: Models = None,
    image: ImageLike | None = None,
    prompts: Prompts | Named | None = None,
    *,
    paths: str | Sequence[str | DensePath] = "value",
    lock: str | Sequence[str] = (),
) -> Panel:
    """Open an explorer: prompts, templates, model, image and refinement beside a canvas that moves in the browser.

    A new prompt is answered out of the image's one forward pass; work runs in a thread, and Stop ends it.

    Args:
        model: A model, the name of one, or several to choose from; the bundled ones by default.
        image: A path, a PIL image, an array or a scene; a bundled scene by default.
        prompts: Texts or `Prompts`; of texts, articles are set right inside templates ("a photo of a taxi." for
            "a taxi"). By default what the scene holds, and something that it does not.
        paths: To dense features, all of the one pass: names, a list, or "all" of the model. A switch above the image
            shows one or the other without the model.
        lock: Controls that are not shown, for teachers: "prompts", "absent", "templates", "model", "image",
            "geometry", "paths", "attributions", "refinement", "run", and those of the canvas, such as "view".

    Returns:
        The widget; what it shows is in `result` and `trace`, its canvas in `canvas`.

    Raises:
        PromptError: A control that there is not, or prompts that cannot be used.
        ImageError, ModelNameError, WeightsError: An image or model that cannot be opened.

    Example:
        >>> import denseclip_viz as dcv
        >>> explorer = dcv.explore(lock=["image"])
        >>> explorer.result.sizes["prompt"]
        4
    """
    image, prompts = with_defaults(image, prompts)
    tiles = Thumbnails()

    def show(panel: Panel) -> None:
        show_multiples(panel.shown, panel.canvas.state, tiles)

    spec = ExplorerSpec("explore", EXPLORE, below=(tiles,), show=show)
    panel = open_panel(spec, model, image, prompts, lock=lock, paths=paths)
    panel.link_thumbnails(tiles, lambda: show(panel))
    return panel


def with_defaults(image: ImageLike | None, prompts: Prompts | Named | None) -> tuple[ImageLike, Prompts]:
    """Return the image and the prompts that an explorer opens with: those given, and for None a scene and its things.

    Articles are set right inside templates, but for `Prompts`, which are taken as they are.

    Example:
        >>> with_defaults(None, "a taxi")[1].prompts, with_defaults(None, None)[1].prompts
        (('a taxi',), ('a taxi', 'a limousine', 'a road', 'a whale'))
    """
    image = scene(WORDS, 320) if image is None else image
    if isinstance(prompts, Prompts):
        return image, prompts
    if prompts is not None:
        return image, Prompts(prompts, articles="right")
    if not isinstance(image, Scene):
        return image, Prompts(ANYWHERE, absent=noun_phrase(ABSENT[0]), articles="right")
    things = list(dict.fromkeys(thing.kind for thing in image.things))
    absent = next(kind for kind in ABSENT if kind not in things)
    names = map(noun_phrase, (*things, *image.stuff))
    return image, Prompts(list(names), absent=noun_phrase(absent), articles="right")


def open_panel(
    spec: ExplorerSpec,
    models: Models,
    image: ImageLike,
    prompts: Prompts,
    *,
    lock: str | Sequence[str] = (),
    paths: str | Sequence[str | DensePath] = "value",
) -> Panel:
    """Take the first look, and open a panel on it; what is wrong with the arguments is raised here."""
    (hidden, locked), session = sort_locks(lock, spec.controls), Session(models)
    chosen = VALUE if paths == "value" else None if paths == "all" else choose_paths(paths)
    chosen = (chosen,) if isinstance(chosen, DensePath) else chosen
    query = Query(ImageSource(image), session.names[0], prompts, layers=spec.layers, paths=chosen)
    result = session.run(query, lambda text, share: None)
    return Panel(spec, session, result, hidden=hidden, locked=locked)


def _parts(widget: widgets.Widget) -> Iterator[widgets.Widget]:
    """List a widget and all its parts: one that is not closed lives as long as the kernel."""
    for child in (*getattr(widget, "children", ()), getattr(widget, "layout", None), getattr(widget, "style", None)):
        if isinstance(child, widgets.Widget):
            yield from _parts(child)
    yield widget
