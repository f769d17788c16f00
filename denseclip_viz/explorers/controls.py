"""The controls that need the model: their widgets, what is typed into them, and which of them a teacher has locked."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import ipywidgets as widgets

from denseclip_viz.attribution.attributions import METHODS
from denseclip_viz.canvas.recipe import EFFECTS
from denseclip_viz.canvas.state import CONTROLS as CANVAS_CONTROLS
from denseclip_viz.errors import PromptError, shown_elsewhere
from denseclip_viz.explorers.control_words import translated
from denseclip_viz.explorers.query import GEOMETRIES, VALUE, ImageSource, Paths, Query
from denseclip_viz.explorers.typed_prompts import (
    OWN,
    TEMPLATE_CHOICES,
    as_lines,
    read_lines,
    read_prompts,
    template_choice,
)
from denseclip_viz.explorers.upload import Upload
from denseclip_viz.prompts import Prompts
from denseclip_viz.validation import short

TEXTS = ("prompts", "absent", "templates")  # what every explorer has
CHOICES = ("model", "geometry", "paths", "attributions", "smooth", "denoise")
ATTRIBUTIONS: dict[str, tuple[str, ...] | None] = {
    "none": (),
    **{name: (name,) for name in (*METHODS, EFFECTS)},
    "all of the model": None,
}
LOOKS = {"style": {"description_width": "68px"}, "layout": {"width": "auto"}}
LATE = 2.0  # seconds


class Showing:
    """Whether something is being shown, so that controls that follow ask for nothing: true within `with`.

    Example:
        >>> showing = Showing()
        >>> with showing, showing:
        ...     bool(showing)
        True
        >>> bool(showing)
        False
    """

    def __init__(self) -> None:
        self._depth = 0

    def __enter__(self) -> None:
        self._depth += 1

    def __exit__(self, *error: object) -> None:
        self._depth -= 1

    def __bool__(self) -> bool:
        return self._depth > 0


class Controls:
    """The widgets of an explorer, by name; all exist, and only those that are asked for are shown.

    Attributes:
        box: Those that are shown, each in a row.
        rows: All rows, shown or not.
    """

    def __init__(
        self,
        prompts: Prompts,
        models: Sequence[str],
        *,
        names: Sequence[str],
        hidden: Sequence[str],
        paths: Paths,
        more: Mapping[str, Sequence[widgets.Widget]],
        status: widgets.Widget,
    ) -> None:
        self._showing, self._offered = Showing(), {"none"}  # attributions: which there are, the first answer tells
        self._before, self._last, self._clicked = prompts, prompts.templates, float("-inf")
        present, absent = (prompts.named(absent=wanted) for wanted in (False, True))
        chosen = template_choice(prompts.templates)
        lines = min(max(4, len(present)), 10)
        self.prompts = _area("prompts", as_lines(present), "a taxi; Enter looks again", rows=lines)
        self.absent = _area("absent", as_lines(absent), "what is surely not there: the baseline", rows=2)
        self.templates = choice("templates", TEMPLATE_CHOICES, chosen)
        self.own = _area("my own", "\n".join(prompts.templates) if chosen == OWN else "", "a photo of {}.", rows=3)
        self.model = choice("model", same_names(models), models[0])
        self.geometry = choice("fit", GEOMETRIES, "native")
        self._meanings: dict[str, dict[str, Any]] = {"paths": dict(path_choices(paths)), "attributions": ATTRIBUTIONS}
        self.paths = choice("paths", same_names(self._meanings["paths"]), self._named("paths", paths))
        self.attributions = choice("attribution", same_names(self._offered), "none")
        self.smooth = _check("key smoothing", "positions with like keys share their segments")
        self.denoise = _check("prompt denoising", "prompts that are likely nowhere are left out")
        self.image = Upload()
        self.run = widgets.Button(description="Run", tooltip="look again, with what is typed", button_style="primary")
        self.stop = widgets.Button(description="Stop", tooltip="give up what is running", disabled=True)
        for lines in (self.prompts, self.absent, self.own):
            lines.add_class("dcvx-lines")
        for name, css in {"prompts": "text", "run": "run", "stop": "stop", "image": "upload"}.items():
            getattr(self, name).add_class(f"dcv-{css}")
        rows = self._rows(status) | {name: list(some) for name, some in more.items()}
        shown = [name for name in names if name not in hidden and (name != "model" or len(models) > 1)]
        self._own_shown, self.rows = "templates" in shown, [row for group in rows.values() for row in group]
        alone = () if "run" in shown else (status,)  # without a Run too
        self.box = widgets.VBox([*(row for name in shown for row in rows.get(name, ())), *alone])
        self.box.add_class("dcvx-controls")
        self._show_own()

    def query(self, image: ImageSource, *, layers: str = "") -> Query:
        """Read what the controls say.

        Raises:
            PromptError: What is typed cannot be used.
        """
        typed = {name: getattr(self, name).value for name in (*TEXTS, "own")}
        with shown_elsewhere() as warned:
            prompts = read_prompts(self._before, **typed)
        self._last = prompts.templates
        chosen = {name: getattr(self, name).value for name in CHOICES}
        meant = {
            name: self._meanings[name][value] if name in self._meanings else value for name, value in chosen.items()
        }
        return Query(image, prompts=prompts, layers=layers, warned=tuple(map(translated, warned)), **meant)

    def show(self, query: Query) -> None:
        """Let choices say what is shown, without asking for it; what is being typed stays."""
        with self._showing:
            self._offer(self._named("attributions", query.attributions))
            for name in CHOICES:
                getattr(self, name).value = self._named(name, getattr(query, name))
            self.templates.value = template_choice(query.prompts.templates)

    def offer(self, attributions: Sequence[str], chosen: tuple[str, ...] | None) -> None:
        """Offer the attributions of the model that is shown, of which some are chosen; ask for nothing."""
        named = self._named("attributions", chosen)
        self._offered = {named, *(name for name, some in ATTRIBUTIONS.items() if not some or some[0] in attributions)}
        with self._showing:
            self._offer(named)

    def _offer(self, chosen: str) -> None:
        """List what is offered, and what is chosen in any case: of a run that is returned to the model comes later."""
        names = same_names(name for name in ATTRIBUTIONS if name in self._offered or name == chosen)
        if list(self.attributions.options) != names:
            self.attributions.options = names
        self.attributions.value = chosen

    def restore(self, query: Query) -> None:
        """Let everything say what is asked, without asking for it."""
        self._before = prompts = query.prompts
        self.type(*(prompts.named(absent=away) for away in (False, True)))
        self.show(query)
        if self.templates.value == OWN:
            self.own.value = "\n".join(prompts.templates)
        self._show_own()

    def type(self, prompts: Iterable[str], absent: Iterable[str]) -> None:
        """Write prompts into their boxes, without asking for them."""
        with self._showing:
            self.prompts.value, self.absent.value = map(as_lines, (prompts, absent))

    def add(self, word: str) -> bool:
        """Write one more prompt, unless it is there; return whether it was not."""
        typed = read_lines(self.prompts.value)
        if word in (*typed, *read_lines(self.absent.value)):
            return False
        self.type((*typed, word), read_lines(self.absent.value))
        return True

    def _named(self, name: str, value: Any) -> Any:
        """Name a value as its choice does."""
        named = self._meanings.get(name)
        return value if named is None else next(shown for shown, meant in named.items() if meant == value)

    def on_query(self, ask: Callable[[], None]) -> None:
        """Call back when something is to be looked at: Run, Enter in a text, another choice."""

        def call() -> None:
            if not self._showing:
                ask()

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
        for name in CHOICES:
            getattr(self, name).observe(lambda _: call(), "value")
        # the order counts: own templates start as what was chosen before, and are then asked for
        self.templates.observe(lambda _: self._start_own(), "value")
        self.templates.observe(lambda _: call(), "value")

    def _start_own(self) -> None:
        if self.templates.value == OWN and not self.own.value.strip():
            self.own.value = "\n".join(self._last)
        self._show_own()

    def _show_own(self) -> None:
        self.own.layout.display = "" if self._own_shown and self.templates.value == OWN else "none"

    def _rows(self, status: widgets.Widget) -> dict[str, list[widgets.Widget]]:
        buttons = widgets.HBox([self.run, self.stop])
        refine = widgets.HBox([widgets.Label("refine"), widgets.VBox([self.smooth, self.denoise])])
        upload = widgets.HBox([widgets.Label("image"), self.image])
        wording = widgets.VBox([self.templates, self.own])
        for row in (buttons, refine, upload):
            row.add_class("dcvx-row")
        wording.add_class("dcvx-wording")
        buttons.add_class("dcvx-buttons")
        going = widgets.VBox([buttons, status])
        going.add_class("dcvx-going")
        return {
            "prompts": [self.prompts],
            "absent": [self.absent],
            "templates": [wording],
            "model": [self.model],
            "image": [upload],
            "geometry": [self.geometry],
            "paths": [self.paths],
            "attributions": [self.attributions],
            "refinement": [refine],
            "run": [going],
        }


def _entered(change: Any) -> bool:
    """Tell whether Enter was pressed, or lines were pasted; quick typing may bring more than that at once."""
    new, old = str(change["new"]), str(change["old"])
    return new.count("\n") > old.count("\n") or (new.endswith("\n") and not old.endswith("\n"))


def _area(label: str, text: str, hint: str, *, rows: int) -> widgets.Textarea:
    return widgets.Textarea(text, description=label, placeholder=hint, rows=rows, **LOOKS)


def choice(label: str, options: Sequence[tuple[str, Any]], value: Any) -> widgets.Dropdown:
    """Make a control that chooses among names: pairs of what is shown and what is meant."""
    return widgets.Dropdown(options=list(options), value=value, description=label, **LOOKS)


def same_names(names: Iterable[str]) -> list[tuple[str, str]]:
    """Show names as what they are."""
    return [(name, name) for name in names]


def _check(label: str, hint: str) -> widgets.Checkbox:
    return widgets.Checkbox(False, description=label, indent=False, tooltip=hint, layout=LOOKS["layout"])


def sort_locks(names: str | Sequence[str], controls: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Sort the names of locked controls into those of an explorer, beside the canvas, and those of the canvas itself.

    Raises:
        PromptError: A name that neither explorer nor canvas has; the message lists what there is.
    """
    if not isinstance(names, Sequence):
        got = f"lock={names!r}"
        raise PromptError(got, expected="names of controls", fix='Write lock=["model", "image"], say.')
    chosen = [names] if isinstance(names, str) else list(names)
    unknown = [name for name in chosen if name not in controls and name not in CANVAS_CONTROLS]
    if unknown:
        expected = f"some of {', '.join(controls)}; on the canvas {', '.join(CANVAS_CONTROLS)}"
        got = f"There is no control {', '.join(map(short, unknown))} to lock"
        raise PromptError(got, expected=expected, fix="Leave it out, or name another.")
    beside, canvas = (tuple(name for name in chosen if name in some) for some in (controls, CANVAS_CONTROLS))
    return beside, canvas


def path_choices(paths: Paths) -> dict[str, Paths]:
    """Name the paths to choose from: the value path, those that were given, and all of the model.

    Example:
        >>> from denseclip_viz.clip.paths import PATHS
        >>> list(path_choices((PATHS["value"], PATHS["sclip"])))
        ['the value path', 'value, sclip', 'all of the model']
    """
    given = {", ".join(path.name for path in paths): paths} if paths is not None and paths is not VALUE else {}
    return {"the value path": VALUE, **given, "all of the model": None}
