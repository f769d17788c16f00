"""What an explorer's result is compared with: the same prompts in another image, fit, path, wording or model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from denseclip_viz.canvas.widget import Canvas
from denseclip_viz.clip.paths import PATHS, paths_together
from denseclip_viz.errors import PromptError, shown_elsewhere
from denseclip_viz.explorers.controls import Showing, choice, same_names
from denseclip_viz.explorers.examples import SCENES, example
from denseclip_viz.explorers.query import GEOMETRIES, ImageSource, Query, Result
from denseclip_viz.explorers.session import Session
from denseclip_viz.explorers.side_by_side import SideBySide
from denseclip_viz.explorers.typed_prompts import TEMPLATE_CHOICES, template_choice, template_title, worded_otherwise
from denseclip_viz.explorers.upload import Upload
from denseclip_viz.explorers.worker import Report
from denseclip_viz.images import describe
from denseclip_viz.model import Model
from denseclip_viz.validation import one_of

if TYPE_CHECKING:
    import xarray as xr

KINDS = {
    "": "nothing",
    "image": "another image",
    "geometry": "another fit",
    "path": "another path",
    "templates": "other templates",
    "model": "another model",
}
Answer = Result | Exception
Choice = tuple[str, Any]
"""A kind, and which image, fit, path, set of templates or model."""
Answered = tuple[Choice, Answer]
NOTHING: Choice = ("", None)
_OWN = "a file of your own"
_SETS = TEMPLATE_CHOICES[:-1]


class ComparedSide:
    """The other side of a comparison: its controls, what it is asked, and what was answered last.

    Attributes:
        rows: Its controls.
        shown: What it shows; None while nothing is compared.
        view: Both sides' canvases, and their difference.
    """

    def __init__(self, session: Session, chosen: Choice = NOTHING) -> None:
        self._session, self._showing = session, Showing()
        self.shown: Result | None = None
        self._error: Exception | None = None
        self._shown_choice = self._answered = NOTHING
        kinds = [(text, kind) for kind, text in KINDS.items() if kind != "model" or len(session.names) > 1]
        self.kind = choice("side by side", kinds, "")
        self.upload, self.scene = Upload(), choice("or a scene", same_names((_OWN, *SCENES)), SCENES[0])
        self._image = example(SCENES[0])
        self.which: dict[str, widgets.Dropdown] = {
            "geometry": choice("other fit", GEOMETRIES, "native"),
            "path": choice("other path", same_names(["value"]), "value"),
            "templates": choice("other templates", _SETS, "none"),
            "model": choice("other model", same_names(session.names), session.names[0]),
        }
        upload = widgets.HBox([widgets.Label("other image"), self.upload])
        upload.add_class("dcvx-row")
        self._rows: dict[str, list[widgets.Widget]] = {"image": [upload, self.scene]}
        self._rows |= {kind: [row] for kind, row in self.which.items()}
        self.rows = [self.kind, *(row for rows in self._rows.values() for row in rows)]
        self.choice = chosen

    def open_on(self, canvas: Canvas) -> widgets.Widget:
        """Stand beside an explorer's canvas; give what holds both."""
        self.view = SideBySide(canvas)
        return self.view.box

    @property
    def choice(self) -> Choice:
        """What is chosen."""
        kind = self.kind.value
        return kind, None if not kind else self._image if kind == "image" else self.which[kind].value

    @choice.setter
    def choice(self, chosen: Choice) -> None:
        kind, value = chosen
        with self._showing:
            if kind == "image":
                self._image, words = value, getattr(value.source, "words", "")
                self.scene.value, self.upload.shown = words if words in SCENES else _OWN, value.name
            elif kind:
                _select(self.which[kind], value)
            self.kind.value = kind
        self._show_rows()

    def restore(self) -> None:
        """Say again what is shown."""
        self.choice = self._shown_choice

    def on_query(self, ask: Callable[[], None], shown: Callable[[], Result], safe: Callable[..., Any]) -> None:
        """Call back when another comparison is to be shown; of a kind that is chosen the first other one is taken."""

        def chosen(change: Any) -> None:
            if self._showing:
                return
            if change["owner"] is self.kind and self.kind.value:
                self.choice = (self.kind.value, self._first_other(self.kind.value, shown()))
            if change["owner"] is self.scene and self.scene.value != _OWN:
                self.choice = ("image", example(self.scene.value))
            self._show_rows()
            ask()

        def received(image: ImageSource) -> None:
            self.choice = ("image", image)
            ask()

        for control in (self.kind, self.scene, *self.which.values()):
            control.observe(safe(chosen), "value")
        self.upload.on_image(received, safe)

    def work(self, query: Query) -> Callable[[Report], Answered] | None:
        """Give what answers the same query at this side; an error is an answer, and the other side stays."""
        chosen = self.choice
        if chosen == NOTHING:
            return None

        def answer(report: Report) -> Answered:
            try:
                with shown_elsewhere() as warned:
                    other = changed(query, *chosen)
                if chosen[0] == "path":
                    self._session.hold_paths(other, report)  # so that the next one takes no pass
                return chosen, self._session.run(replace(other, warned=(*query.warned, *warned)), report)
            except Exception as error:  # noqa: BLE001  it is shown at its side
                return chosen, error

        return answer

    def take(self, answered: Answered | None) -> list[xr.Dataset]:
        """Take an answer, and give what the colour scales of the other side have to cover too."""
        self._answered, answer = answered or (NOTHING, None)
        self._error = answer if isinstance(answer, Exception) else None
        if not isinstance(answer, Exception):
            self._shown_choice, self.shown = self._answered, answer
        return [] if self.shown is None else [self.shown.comparison]

    def show(self, left: Result) -> None:
        """Show both sides, or the left alone."""
        if self._answered == NOTHING:
            return self.view.close()
        self._offer_paths(left)
        kind, _ = self._answered if self.shown is None else self._shown_choice
        other = KINDS[kind] if self.shown is None else title(kind, self.shown.query)
        return self.view.show(left, self.shown, [title(kind, left.query), other], error=self._error)

    def close(self) -> None:
        """Close every part of it."""
        for part in self.view.parts:
            part.close()

    def _first_other(self, kind: str, left: Result) -> Any:
        """Keep what was chosen before if it is another than the left side's, or find the first that is."""
        query, now = left.query, self.which.get(kind)
        if now is None:
            words = getattr(query.image.source, "words", "")
            is_same = words and words == getattr(self._image.source, "words", "")
            return example(SCENES[words == SCENES[0]]) if is_same else self._image
        self._offer_paths(left)
        there: dict[str, tuple[str, ...]] = {
            "geometry": (query.geometry,),
            "path": left.trace.paths,
            "templates": (template_choice(query.prompts.templates),),
            "model": (query.model,),
        }
        others = [value for _, value in now.options if value not in there[kind]]
        return now.value if now.value in others or not others else others[0]

    def _offer_paths(self, left: Result) -> None:
        """List the paths of one pass of the model; the one that is chosen stays in any case."""
        control = self.which["path"]
        value, options = control.value, same_names(dict.fromkeys([*paths_together(left.model.tower), control.value]))
        if list(control.options) != options:
            with self._showing:
                control.options, control.value = options, value

    def _show_rows(self) -> None:
        for kind, rows in self._rows.items():
            for row in rows:
                row.layout.display = "" if kind == self.kind.value else "none"


def _select(control: widgets.Dropdown, value: Any) -> None:
    if value not in [known for _, known in control.options]:
        control.options = (*control.options, (value, value))
    control.value = value


def changed(query: Query, kind: str, value: Any) -> Query:
    """Make the query of the other side, which differs in one thing."""
    if kind == "templates":
        return replace(query, prompts=worded_otherwise(query.prompts, value))
    if kind == "path":
        return replace(query, paths=(PATHS[value],))
    return replace(query, **{kind: value})


def title(kind: str, query: Query) -> str:
    """Name a side by what it differs in.

    Example:
        >>> from denseclip_viz.prompts import Prompts
        >>> title("geometry", Query(ImageSource("a.jpg"), "RN50", Prompts("a taxi"), geometry="whole"))
        'the whole image'
    """
    if kind == "image":
        return query.image.name or describe(query.image.source)
    if kind == "geometry":
        return query.fit
    if kind == "path":
        return "all paths" if query.paths is None else ", ".join(path.name for path in query.paths)
    if kind == "templates":
        return f"templates: {template_title(query.prompts.templates)}"
    return query.model


def read_choice(given: Mapping[str, Any] | None, session: Session) -> Choice:
    """Read what a cell compares with: one of image, geometry, path, templates or model, and which; a model is added.

    Raises:
        PromptError: Something else.

    Example:
        >>> read_choice({"geometry": "whole"}, Session())
        ('geometry', 'whole')
    """
    if given is None:
        return NOTHING
    kinds = [kind for kind in KINDS if kind]
    if not isinstance(given, Mapping) or len(given) != 1 or next(iter(given)) not in kinds:
        expected = "one of " + ", ".join(kinds) + ", and which"
        fix = 'For example compare_with={"geometry": "whole"}.'
        raise PromptError(f"compare_with={given!r}", expected=expected, fix=fix)
    (kind, value), allowed = next(iter(given.items())), {"geometry": GEOMETRIES, "templates": _SETS}
    if kind == "image":
        return kind, ImageSource(value)
    if kind == "model":
        return kind, session.add(value) if isinstance(value, Model) or value not in session.names else value
    names = [name for _, name in allowed[kind]] if kind in allowed else list(PATHS)
    expected = "one of " + ", ".join(map(repr, names))
    one_of(value, names, f"compare_with={{{kind!r}: …}}", error=PromptError, expected=expected)
    return kind, value
