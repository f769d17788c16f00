"""Controls, a notice and a canvas, and the way between them: ask, look in a thread, show."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets

from denseclip_viz.canvas.widget import Canvas
from denseclip_viz.explorers.controls import Controls, Locked, locked
from denseclip_viz.explorers.session import Answer, Bench, ImageSource, Models, Question
from denseclip_viz.explorers.status import Notice, Shown, in_words, shown
from denseclip_viz.explorers.thumbnails import Tiles
from denseclip_viz.explorers.upload import too_large
from denseclip_viz.explorers.worker import Jobs, Tell
from denseclip_viz.images import ImageLike
from denseclip_viz.model import Model
from denseclip_viz.prompts import Prompts
from denseclip_viz.trace import Trace


@dataclass(frozen=True)
class Kind:
    """What makes one explorer another.

    Attributes:
        name: What it is called.
        controls: Which controls it has.
        below: What stands below the canvas.
        answer: Answers a question, in a thread.
        show: Called with the panel and the answer, for what stands below.
        layers: Which layers are read too.
    """

    name: str
    controls: tuple[str, ...]
    answer: Callable[[Bench, Question, Tell], Answer]
    show: Callable[[Panel, Answer], None]
    below: tuple[widgets.Widget, ...] = ()
    layers: str = ""


class Panel(widgets.VBox):  # type: ignore[misc]  # ipywidgets has no types
    """An explorer: what `explore`, `template_lab` and `layer_lens` return. Change it by hand or from a cell.

    Attributes:
        canvas: The image with its maps.
        controls: The widgets of its controls, by name.
        answer: What is shown: question, result, trace.
        notice: The line that says what is going on.
        aside: For work beside it that a Run does not wait for.
    """

    def __init__(self, kind: Kind, bench: Bench, answer: Answer, hidden: Locked) -> None:
        self._kind, self._bench = kind, bench
        self.answer, self._image = answer, answer.question.image
        self._showing, self._refined, self._view = False, False, "dense"
        prompts = answer.question.prompts
        self.controls = Controls(prompts, bench.names, names=kind.controls, hidden=hidden.beside)
        self.notice, self.canvas = Notice(), Canvas(locked=list(hidden.canvas))
        self._lock = threading.RLock()
        self._jobs = Jobs(told=self._told, failed=self.failed, settled=self._settled, lock=self._lock)
        self.aside = Jobs(told=lambda text, share: None, failed=self.failed, lock=self._lock)
        below = widgets.HBox(list(kind.below))
        super().__init__([self._laid_out(), below])
        self.add_class("dcv-explorer")
        below.add_class("dcvx-below")
        self._show(answer)
        self._listen()

    @property
    def result(self) -> Any:
        """What `Model.compare` returned for what is shown."""
        return self.answer.result

    @property
    def trace(self) -> Trace:
        """The trace that is shown."""
        return self.answer.trace

    @property
    def model(self) -> Model:
        """The model that made what is shown."""
        return self.answer.model

    @property
    def busy(self) -> bool:
        """Whether something is running."""
        return self._jobs.busy

    def run(self) -> None:
        """Look again, with what the controls say; as the Run button."""
        with self._lock:
            self._ask(self._image)

    def look_at(self, image: ImageLike) -> None:
        """Look at another image, of any size.

        Args:
            image: A path, a PIL image, an array or a scene.
        """
        with self._lock:
            self._ask(ImageSource(image))

    def stop(self) -> None:
        """Give up what is running; what was shown stays."""
        if self._jobs.stop():
            self.notice.say("stopped; what was there before is shown", "warning")

    def close(self) -> None:
        """Take the explorer down: stop its work, close every part, let go of trace and model."""
        self.stop()
        self.aside.stop()
        for row in self.controls.every:
            for part in _parts(row):
                part.close()
        for part in _parts(self):
            super().close() if part is self else part.close()

    def follow(self, tiles: Tiles, call: Callable[[], Any] = lambda: None) -> None:
        """Let tiles and canvas move together.

        Args:
            tiles: A click on one of them is shown on the canvas, and what the canvas shows is marked on them.
            call: Called when the canvas shows another prompt or template.
        """

        def moved(change: Any) -> None:
            tiles.current = change["new"]
            if not self._showing and any(change["new"][name] != change["old"][name] for name in ("prompt", "template")):
                call()

        def chosen(change: Any) -> None:
            if change["new"]:
                self.canvas.state = change["new"]

        tiles.current = self.canvas.state
        self.canvas.observe(self.guarded(moved), "state")
        tiles.observe(self.guarded(chosen), "chosen")

    def guarded(self, call: Callable[..., Any]) -> Callable[..., None]:
        """Wrap a callback: one at a time, and what it raises is shown."""
        return shown(self.fail, call, self._lock)

    def fail(self, error: BaseException) -> None:
        """Show an error as one readable line."""
        self.notice.say(in_words(error), "error")

    def _laid_out(self) -> widgets.Widget:
        side = widgets.VBox([self.controls.box, self.notice])
        side.add_class("dcvx-side")
        top = widgets.HBox([side, self.canvas])
        top.add_class("dcvx-top")
        return top

    def _listen(self) -> None:
        self.controls.on_ask(self.guarded(self.run))
        self.controls.stop.on_click(self.guarded(lambda _: self.stop()))
        self.controls.image.observe(self.guarded(self._received), "content")
        self.controls.image.observe(self.guarded(self._refused), "refused")

    def _received(self, change: Any) -> None:
        if change["new"]:
            upload = self.controls.image
            self._ask(ImageSource(upload.taken(), upload.name))

    def _refused(self, change: Any) -> None:
        file = change["new"]
        raise too_large(str(file["name"]), int(file["size"]), self.controls.image.limit)

    def _ask(self, image: ImageSource) -> None:
        question = self.controls.question(image, layers=self._kind.layers)
        self.controls.stop.disabled = False
        self.notice.say("looking", "busy")
        self._jobs.start(lambda tell: self._kind.answer(self._bench, question, tell), self.guarded(self._show))

    def _show(self, answer: Answer) -> None:
        self._showing = True  # what moves on the canvas now moves with the answer
        try:
            self._put(answer)
        finally:
            self._showing = False
        self.answer, self._image = answer, answer.question.image
        self.canvas.status = answer.status
        self.notice.say(answer.warning, "warning" if answer.warning else "ok")
        self._kind.show(self, answer)

    def _put(self, answer: Answer) -> None:
        """Refined segments stand alone on the canvas; behind them the view comes back that was there before."""
        refined, view = self._refined, self.canvas.state["view"]
        if answer.segments is None:
            self.canvas.show(answer.result, trace=answer.trace)
            self.canvas.state = {"view": self._view} if refined else {}
        else:
            self.canvas.show(answer.segments, trace=answer.trace)
            self._view = self._view if refined else view
        self._refined = answer.segments is not None

    def _told(self, text: str, share: float) -> None:
        self.notice.say(text + " …", "busy", share)

    def _settled(self) -> None:
        self.controls.stop.disabled = True

    def failed(self, error: BaseException) -> None:
        """What the work raised: shown in one line, and as a traceback too if it is none of our own."""
        with Shown(self.fail):
            raise error

    def __repr__(self) -> str:
        return f"{self._kind.name}({self.answer.status.rpartition(' · ')[0]})"

    def _repr_mimebundle_(self, **options: Any) -> Any:
        """The widget, and a still image for places that show none."""
        data = super()._repr_mimebundle_(**options)
        still = self.canvas._repr_mimebundle_(**options)
        images = still[0] if isinstance(still, tuple) else still
        if isinstance(data, dict) and images and "image/png" in images:
            data["image/png"] = images["image/png"]
        return data


def panel(kind: Kind, models: Models, image: ImageLike, prompts: Prompts, *, lock: str | Sequence[str] = ()) -> Panel:
    """Take the first look, and open a panel on it; what is wrong with the arguments is raised here.

    Args:
        kind: Which explorer.
        models: To choose from.
        image: To look at.
        prompts: To look for.
        lock: Controls that are not shown.
    """
    hidden, bench = locked(lock, kind.controls), Bench(models)
    question = Question(ImageSource(image), bench.names[0], prompts, layers=kind.layers)
    return Panel(kind, bench, kind.answer(bench, question, lambda text, share: None), hidden)


def _parts(widget: widgets.Widget) -> Iterator[widgets.Widget]:
    """A widget and all that it is made of: a widget that is not closed lives as long as the kernel."""
    for child in (*getattr(widget, "children", ()), getattr(widget, "layout", None), getattr(widget, "style", None)):
        if isinstance(child, widgets.Widget):
            yield from _parts(child)
    yield widget
